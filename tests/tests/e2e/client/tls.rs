//! The client core over TLS, against a real server behind a TLS proxy: everything works
//! as without TLS, a wrong certificate is rejected with a clear error, and every
//! request sends the token.

use std::io::Cursor;
use std::pin::pin;
use std::time::{Duration, Instant};

use styx_client::blocking::{Client, Producer, wait_for};
use styx_client::{Code, Codec, Error, Kind, LogConfig};
use styx_tests::TestServer;
use styx_tests::tls::{TlsProxy, header};

/// Far more than a call needs that fails at once, and less than one that is retried.
const AT_ONCE: Duration = Duration::from_secs(15);

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

/// Checks that `call` fails at once because the server cannot be trusted. A call that is
/// retried lasts 30 s by default.
fn check_untrusted<T: std::fmt::Debug>(
    what: &str,
    word: &str,
    call: impl FnOnce() -> Result<T, Error>,
) {
    let started = Instant::now();
    let error = call().expect_err(what);
    assert!(started.elapsed() < AT_ONCE, "{what}: {:?}", started.elapsed());
    assert_eq!(error.code(), "untrusted_server", "{what}: {error}");
    assert!(!error.is_retriable(), "{what}: {error}");
    for part in [word, "certificate", "cannot connect to styxs://"] {
        assert!(error.message().contains(part), "{what}: {part} in {error}");
    }
}

#[test]
fn a_server_with_the_wrong_identity_is_a_permanent_error() {
    let server = TestServer::start();
    server.create("a");
    let proxy = TlsProxy::start(server.address());
    let other = TlsProxy::start(server.address());
    let expired = TlsProxy::start_expired(server.address());
    let (url, number) = (proxy.url(), proxy.url_by_number());
    let builder = |url: &str, authority: String| Client::builder(url).ca_pem(authority);
    let right = || builder(&url, proxy.authority());
    let wrong = [
        ("another authority", builder(&url, other.authority()), "UnknownIssuer"),
        ("no name", builder(&number, proxy.authority()), "not valid for name"),
        ("another name", right().server_name("db.example.com"), "\"db.example.com\""),
        ("expired", builder(&expired.url(), expired.authority()), "expired"),
    ];
    for (what, builder, word) in wrong {
        let client = builder.clone().build().expect("good options");
        check_untrusted(what, word, || client.list_logs());
        check_untrusted(what, word, || client.producer("a").open());
        check_untrusted(what, word, || client.consumer("a").open());
        check_untrusted(what, word, || client.consumer("a").follow(true).open());
        check_untrusted(what, word, || builder.connect());
    }
    // This machine cannot trust an authority that was created a moment ago.
    assert!(
        Client::builder(&url).connect().is_err(),
        "an unknown authority is not trusted by default"
    );
    for proxy in [&proxy, &expired] {
        let heads = proxy.heads();
        assert!(heads.is_empty(), "the token must not reach an untrusted server: {heads:?}");
    }

    let named = builder(&number, proxy.authority()).server_name("localhost");
    assert!(named.connect().is_ok(), "the server name can differ from the address");
}

/// A follower and a producer reconnect to a server whose certificate changed meanwhile.
/// Without a permanent error, the follower would try again forever.
#[test]
fn a_changed_certificate_ends_a_running_follower_and_producer() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    let client = client(&proxy);
    client.create_log("a", LogConfig::default(), false).expect("a new log");
    let mut follower = client.consumer("a").follow(true).open().expect("it can be opened");
    let producer = client.producer("a").open().expect("it can be opened");
    producer.send(b"before").expect("durable");
    let record = follower.next_record().expect("no error").expect("a record");
    assert_eq!(record.payload(), b"before");

    proxy.change_authority();
    proxy.cut();
    check_untrusted("the follower", "certificate", || follower.poll(2 * AT_ONCE));
    let sent = wait_for(pin!(producer.as_async().send(b"after")), 2 * AT_ONCE);
    check_untrusted("the producer", "certificate", || sent.expect("it ends"));
    check_untrusted("a call", "certificate", || client.list_logs());
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
