//! The numbers and events of connections while a server hangs and comes back.

use std::time::Duration;

use styx_client::LogConfig;
use styx_client::blocking::Client;
use styx_client::events::{Event, EventKind, Subject};
use styx_tests::TestServer;
use styx_tests::wait::until_true;

/// The shortest that a client accepts.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Far more than each step needs.
const PATIENCE: Duration = Duration::from_secs(20);

fn has(events: &[Event], subject: Subject, kind: fn(&EventKind) -> bool) -> bool {
    events.iter().any(|event| event.subject == subject && kind(&event.kind))
}

/// The server's sockets stay open and its kernel answers, but it says nothing.
#[test]
fn a_paused_server_shows_in_the_numbers_and_events() {
    let server = TestServer::start();
    let client = Client::builder(&format!("styx://{}", server.address()))
        .silence_timeout(SILENCE_TIMEOUT)
        .connect()
        .expect("the server is listening");
    client.create_log("orders", LogConfig::default(), false).expect("a new log");
    let idle = client.stats();
    // The check and the call share a connection, which is kept.
    assert_eq!((idle.requests, idle.retries), (2, 0));
    assert_eq!((idle.connections, idle.failed_connections, idle.open_connections), (1, 0, 1));
    assert!(idle.open_streams == 0 && idle.since_last_heard.is_some());
    let producer = client.producer("orders").open().expect("it can be opened");
    let mut consumer = client.consumer("orders").follow(true).open().expect("it can be opened");
    producer.send(b"before").expect("durable");
    assert!(consumer.next_batch().expect("no error").is_some());
    let numbers = (producer.stats(), consumer.stats());
    assert!(numbers.0.is_connected && numbers.1.is_connected);
    assert_eq!((numbers.0.acked_records, numbers.1.received_records), (1, 1));
    let before = client.stats();
    assert_eq!(before.open_streams, 2);
    assert!(before.requests >= 4 && before.connections >= 3, "{before:?}");

    server.pause();
    let ack = producer.append(b"while it hangs").expect("accepted");
    assert_eq!(producer.stats().in_flight_records, 1);
    until_true("both notice the silence", PATIENCE, || {
        let numbers = (producer.stats(), consumer.stats());
        !numbers.0.is_connected && !numbers.1.is_connected
    });
    assert!(producer.stats().since_last_heard >= Some(SILENCE_TIMEOUT));
    assert!(consumer.stats().since_last_heard >= Some(SILENCE_TIMEOUT));
    until_true("no stream is open", PATIENCE, || client.stats().open_streams == 0);
    assert!(client.stats().since_last_heard >= Some(SILENCE_TIMEOUT));
    let mut events = Vec::new();
    let is_lost: fn(&EventKind) -> bool = |kind| matches!(kind, EventKind::Lost(_));
    until_true("both lose their connections", PATIENCE, || {
        assert_eq!(client.take_events(&mut events), 0);
        has(&events, Subject::Producer, is_lost) && has(&events, Subject::Consumer, is_lost)
    });
    let lost = events.iter().find_map(|event| match &event.kind {
        EventKind::Lost(error) => Some(error.code()),
        _ => None,
    });
    assert_eq!(lost, Some("timed_out"));

    server.resume();
    ack.position().expect("durable");
    assert!(consumer.next_batch().expect("no error").is_some());
    // On a busy machine one of them may lose its connection again.
    until_true("both are connected", PATIENCE, || {
        let are_connected = producer.stats().is_connected && consumer.stats().is_connected;
        are_connected && client.stats().open_streams == 2
    });
    let numbers = (producer.stats(), consumer.stats());
    assert!(numbers.0.reconnects >= 1 && numbers.1.reconnects >= 1);
    let now = client.stats();
    assert!(now.connections >= before.connections + 2, "{now:?}");
    assert_eq!((numbers.0.acked_records, numbers.0.in_flight_records), (2, 0));
    producer.close().expect("no error");
    until_true("the producer ends", PATIENCE, || {
        client.take_events(&mut events);
        has(&events, Subject::Producer, |kind| matches!(kind, EventKind::Closed))
    });
    assert!(has(&events, Subject::Producer, |kind| matches!(kind, EventKind::Again { .. })));
}
