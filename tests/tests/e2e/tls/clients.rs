//! The Rust client and the command line with a server that speaks TLS.

use std::time::Duration;

use styx_client::blocking::Client;
use styx_client::{Codec, LogConfig};
use styx_tests::cli::{run, styx};
use styx_tests::{Settings, TestServer};

fn client(server: &TestServer) -> Client {
    let authority = server.authority().certificate();
    Client::builder(&server.tls_url()).ca_pem(authority).connect().expect("trusted")
}

fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{number}:").into_bytes();
    let noise = (0..bytes).map(|at| ((at * 31 + number * 17) % 251) as u8);
    payload.extend(noise);
    payload
}

/// Appends records of this size, and reads them from memory and, after a restart, from
/// the files.
fn check_records(count: usize, bytes: usize, codec: Codec) {
    let mut server = Settings::default().tls().start();
    let client_before = client(&server);
    client_before.create_log("a", LogConfig::default(), false).expect("created");
    let producer = client_before.producer("a").compression(codec).open().expect("opened");
    for number in 0..count {
        producer.append(&payload(number, bytes)).expect("taken");
    }
    producer.close().expect("durable");
    let read = |client: &Client| {
        let mut consumer = client.consumer("a").open().expect("opened");
        let mut number = 0;
        while let Some(batch) = consumer.next_batch().expect("no error") {
            for record in batch.iter() {
                assert!(record.payload() == payload(number, bytes), "record {number}");
                number += 1;
            }
        }
        assert_eq!(number, count);
    };
    read(&client_before);
    let _ = server.stop();
    server.restart();
    read(&client(&server));
}

#[test]
fn many_small_records_are_appended_and_read() {
    check_records(200_000, 20, Codec::None);
}

/// The server sends parts of files, which are larger than a batch of TLS records.
#[test]
fn large_records_are_appended_and_read() {
    check_records(40, 700_000, Codec::None);
}

#[test]
fn compressed_records_are_appended_and_read() {
    check_records(2_000, 5_000, Codec::Zstd);
}

/// A socket that is full stops the encryption in the middle of a span.
#[test]
fn consumer_that_pauses_gets_every_record() {
    let mut server = Settings::default().tls().start();
    client(&server).create_log("a", LogConfig::default(), false).expect("created");
    let producer = client(&server).producer("a").open().expect("opened");
    for number in 0..300 {
        producer.append(&payload(number, 100_000)).expect("taken");
    }
    producer.close().expect("durable");
    let _ = server.stop();
    server.restart();
    let client = client(&server);
    let mut consumer = client.consumer("a").open().expect("opened");
    let mut number = 0;
    while let Some(batch) = consumer.next_batch().expect("no error") {
        for record in batch.iter() {
            assert!(record.payload() == payload(number, 100_000), "record {number}");
            number += 1;
        }
        // This test needs a slow reader.
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(number, 300);
}

#[test]
fn command_line_works_with_a_ca_file() {
    let server = Settings::default().tls().start();
    let authority = server.scratch().write("authority.pem", server.authority().certificate());
    for url in [server.tls_url(), server.tls_url().replace("styxs://", "https://")] {
        let log = if url.starts_with("styxs") { "a" } else { "b" };
        let styx = |arguments: &[&str], input: &[u8]| {
            let mut command = styx(arguments);
            command.arg("--host").arg(&url).arg("--ca-file").arg(&authority);
            run(command, input)
        };
        let _ = styx(&["logs", "create", log], b"").expect_ok();
        let _ = styx(&["logs", "write", log], b"one\ntwo\n").expect_ok();
        assert_eq!(styx(&["logs", "read", log], b"").expect_text(), "one\ntwo\n");
    }
    let mut command = styx(&["logs", "list", "--host", &server.tls_url()]);
    command.env_remove("STYX_CA_FILE").env("SSL_CERT_FILE", &authority);
    assert_eq!(run(command, b"").code, 0, "the system's authorities are used by default");
    let other = styx_tests::Authority::new("another");
    let other = server.scratch().write("other.pem", other.certificate());
    let mut command = styx(&["logs", "list", "--host", &server.tls_url()]);
    command.arg("--ca-file").arg(other);
    let refused = run(command, b"");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("ca_file"), "{}", refused.stderr);
}
