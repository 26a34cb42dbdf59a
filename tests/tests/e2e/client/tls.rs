//! The client core over TLS, against a real server behind a TLS proxy: everything works
//! as without TLS, a wrong certificate is rejected with a clear error, and every
//! request sends the token.

use std::io::Cursor;
use std::time::Duration;

use styx_client::blocking::{Client, Producer};
use styx_client::{Code, Codec, Kind, LogConfig};
use styx_tests::TestServer;
use styx_tests::tls::{TlsProxy, header};

/// A client of this proxy that trusts only its certificate authority.
fn client(proxy: &TlsProxy) -> Client {
    Client::builder(&proxy.url())
        .ca_pem(proxy.authority())
        .connect()
        .expect("the certificate is trusted")
}

fn payloads(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("{i}:").into_bytes().repeat(bytes / 4)).collect()
}

fn append_all(producer: &Producer, payloads: &[Vec<u8>]) {
    for payload in payloads {
        producer.append(payload).expect("taken");
    }
    producer.flush().expect("durable");
}

fn read_all(client: &Client, log: &str) -> Vec<Vec<u8>> {
    let mut consumer = client.consumer(log).open().expect("it can be opened");
    let mut records = Vec::new();
    while let Some(batch) = consumer.next_batch().expect("no error") {
        records.extend(batch.iter().map(|record| record.payload().to_vec()));
    }
    records
}

/// Makes every call that a client can make.
fn use_everything(client: &Client) {
    client.create_log("a", LogConfig::default(), false).expect("a new log");
    let records = payloads(2000, 3000);
    for (codec, half) in Codec::ALL.into_iter().zip(records.chunks(700)) {
        let producer = client.producer("a").compression(codec).open().expect("it can be opened");
        append_all(&producer, half);
        producer.close().expect("no error");
    }
    assert!(read_all(client, "a") == records);
    let mut follower =
        client.consumer("a").start(1990).follow(true).open().expect("it can be opened");
    let position = follower.next_record().expect("no error").map(|record| record.position());
    assert_eq!(position, Some(1990));

    let mut archive = Vec::new();
    client.backup_log("a").and_then(|backup| backup.write_to(&mut archive)).expect("a backup");
    let restore = client.restore_log("b").expect("taken");
    restore.read_from(&mut Cursor::new(archive)).expect("a good archive");
    assert!(read_all(client, "b") == records);
    let names: Vec<String> =
        client.list_logs().expect("two").into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);

    assert_eq!(client.trim_log("a", 10).expect("trimmed").end_position, 2000);
    client.truncate_log("a").expect("emptied");
    assert_eq!(client.get_log("a").expect("the log exists").end_position, 0);
    assert_eq!(client.get_log_details("a").expect("the log exists").config, LogConfig::default());
    client.delete_log("a").expect("deleted");
    let error = client.get_log("a").expect_err("the log is deleted");
    assert_eq!(error.kind(), Kind::Code(Code::LogNotFound));
}

#[test]
fn everything_works_over_tls() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    use_everything(&client(&proxy));
}

/// Every connection is cut in the middle of TLS records, and no record is lost or
/// duplicated.
#[test]
fn the_client_reconnects_after_cuts_inside_tls_records() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    let client = client(&proxy);
    client.create_log("a", LogConfig::default(), false).expect("a new log");
    let records = payloads(3000, 2000);
    let mut follower = client.consumer("a").follow(true).open().expect("it can be opened");
    let producer = client.producer("a").open().expect("it can be opened");
    let mut seen = Vec::new();
    for part in records.chunks(500) {
        for payload in part {
            producer.append(payload).expect("taken");
        }
        proxy.cut();
        while seen.len() < 500 {
            let batch =
                follower.next_batch().expect("no error").expect("the follower does not end");
            seen.extend(batch.iter().map(|record| record.payload().to_vec()));
        }
        assert!(seen == part);
        seen.clear();
    }
    producer.close().expect("no error");
    assert!(read_all(&client, "a") == records);
    let upgrades = proxy.heads().iter().filter(|head| header(head, "upgrade").is_some()).count();
    assert!(upgrades > 10, "only {upgrades} connections with 6 cuts");
}

#[test]
fn a_server_with_the_wrong_identity_is_rejected() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    let other = TlsProxy::start(server.address());
    let (url, number) = (proxy.url(), proxy.url_by_number());
    let builder = |url: &str, authority: &str| Client::builder(url).ca_pem(authority);
    let right = || builder(&url, proxy.authority());
    let wrong = [
        ("another authority", &url, builder(&url, other.authority()), "UnknownIssuer"),
        ("no name", &number, builder(&number, proxy.authority()), "not valid for name"),
        ("another name", &url, right().server_name("db.example.com"), "\"db.example.com\""),
    ];
    for (what, address, builder, word) in wrong {
        let error = builder.clone().connect().expect_err(what);
        assert_eq!(error.kind(), Kind::ConnectionFailed, "{what}: {error}");
        for part in [word, "certificate", address.as_str()] {
            assert!(error.message().contains(part), "{what}: {part} in {error}");
        }
        // Later calls return the same error when their timeout is over.
        let client = builder.timeout(Duration::from_secs(1)).build().expect("good options");
        let errors = [
            client.list_logs().expect_err(what),
            client.producer("a").open().expect_err(what),
            client.consumer("a").open().expect_err(what),
        ];
        for error in errors {
            assert_eq!(error.kind(), Kind::ConnectionFailed, "{what}: {error}");
            assert!(error.message().contains(word), "{what}: {error}");
        }
    }
    // This machine cannot trust an authority that was created a moment ago.
    assert!(
        Client::builder(&url).connect().is_err(),
        "an unknown authority is not trusted by default"
    );
    assert!(
        proxy.heads().is_empty(),
        "the token must not reach an untrusted server: {:?}",
        proxy.heads()
    );

    let named = builder(&number, proxy.authority()).server_name("localhost");
    assert!(named.connect().is_ok(), "the server name can differ from the address");
}

/// The error is returned soon and names the cause.
#[test]
fn tls_on_a_plain_port_and_plain_on_a_tls_port_are_reported() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    let address = format!("styxs://localhost:{}", server.address().port());
    let client = Client::builder(&address).ca_pem(proxy.authority());
    let error = client.connect().expect_err("the server does not use TLS");
    assert_eq!(error.kind(), Kind::ConnectionFailed);
    assert!(error.message().contains(&address), "{error}");

    let client = Client::builder(&proxy.url().replace("styxs", "styx"));
    let client = client.timeout(Duration::from_millis(300)).build().expect("good options");
    let error = client.list_logs().expect_err("the port accepts only TLS");
    assert!([Kind::ConnectionFailed, Kind::TimedOut].contains(&error.kind()), "{error:?}");
}

#[test]
fn every_request_and_upgrade_sends_the_token() {
    for token in [None, Some("s3cret.token")] {
        let server = TestServer::start();
        let proxy = TlsProxy::start(server.address());
        let mut builder = Client::builder(&proxy.url()).ca_pem(proxy.authority());
        if let Some(token) = token {
            builder = builder.token(token);
        }
        use_everything(&builder.build().expect("good options"));
        let heads = proxy.heads();
        let upgrades = heads.iter().filter(|head| header(head, "upgrade").is_some()).count();
        // Producers, consumers, and calls such as create, list and backup.
        assert!(upgrades >= 6 && heads.len() >= upgrades + 9, "{heads:#?}");
        let expected = token.map(|token| format!("Bearer {token}"));
        for head in &heads {
            assert_eq!(header(head, "authorization"), expected.as_deref(), "{head}");
        }
    }
}
