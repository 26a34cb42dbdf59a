//! The interface for language bindings, used as a binding for C or Node uses it: one thread with an
//! event loop, no executor, and no call that waits. The program appends records, reads them back,
//! compares them, and uses everything else that [`styx_client::bindings`] lists.

mod host;

use std::thread;
use std::time::Duration;

use self::host::{Host, is_readable};
use styx_client::bindings::{Encoded, Outcome, Settled};
use styx_client::consumer::Polled;
use styx_client::events::{EventKind, Subject};
use styx_client::options::OPTIONS;
use styx_client::producer::Ack;
use styx_client::{Client, Code, Consumer, Error, Kind, LogConfig, Producer, RecordBatch};
use styx_tests::TestServer;

/// The tokens of the sources.
const PRODUCER: u64 = 1;
const CONSUMER: u64 = 2;
const EVENTS: u64 = 3;

const RECORDS: usize = 20_000;
/// The records of one batch.
const BATCH: usize = 500;

fn payload(number: usize) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number % 90)).into_bytes()
}

#[test]
fn program_that_watches_a_descriptor_appends_and_reads_back() {
    let mut host = Host::with_descriptor();
    let seen = run(&mut host, |consumer, expected| {
        let descriptor = consumer.descriptor().expect("a descriptor");
        assert_eq!(is_readable(&descriptor, Duration::ZERO), expected);
    });
    assert!(!is_readable(host.queue(), Duration::ZERO), "everything was drained");
    assert!(seen > 0, "some records were given back");
}

#[test]
fn program_with_a_notifier_appends_and_reads_back() {
    assert!(run(&mut Host::with_notifier(), |_, _| {}) > 0, "some records were given back");
}

/// The program. `check` compares whether the consumer has something with what is expected. Returns
/// how often records were given back.
fn run(host: &mut Host, check: impl Fn(&Consumer, bool)) -> usize {
    let server = TestServer::start();
    let client = connect(host, &server);
    client.events(host.source(EVENTS));
    let create = |client: Client| async move {
        client.create_log("orders", LogConfig::default(), false).await.map(drop)
    };
    host.call(&client, create).expect("created");
    let error = host.call(&client, create).expect_err("it exists");
    assert_eq!(error.kind().number(), Kind::Code(Code::LogExist).number());

    let producer = open_producer(host, &client);
    append_everything(host, &server, &producer);
    let mut consumer = open_consumer(host, &client);
    let given_back = read_everything(host, &mut consumer, &check);
    seek(host, &mut consumer);
    lose_the_cursor(host, &server, &client, &mut consumer);
    wake_and_end(host, &mut consumer, &check);
    close_producer(host, &producer);
    take_events(host, &client);
    assert!(client.stats().requests > 0 && client.stats().since_last_heard.is_some());
    given_back
}

fn connect(host: &mut Host, server: &TestServer) -> Client {
    let builder = || Client::builder(&format!("styx://{}", server.address()));
    let error = builder().set("timeout_", "5s").expect_err("a typing error");
    assert_eq!(error.kind().number(), Kind::InvalidArgument.number());
    assert!(error.message().contains("timeout"), "{error}");
    let known = Kind::all().find(|kind| kind.number() == error.kind().number());
    assert!(known.is_some_and(|kind| !kind.meaning().is_empty()));
    assert!(OPTIONS.iter().any(|option| option.name == "timeout"));
    let client = builder().set("timeout", "20s").and_then(styx_client::client::Builder::build);
    let client = client.expect("good options");
    let info = host.call(&client, |client| async move { client.check().await });
    assert!(!info.expect("a server").version.is_empty());
    client
}

fn open_producer(host: &mut Host, client: &Client) -> Producer {
    let options = [
        ("compression", "lz4"),
        ("in_flight_bytes", "1MiB"),
        ("block_bytes", "64KiB"),
        ("track_settled", "true"),
    ];
    let producer = host
        .call(client, |client| async move {
            let builder = client.producer("orders");
            options
                .into_iter()
                .try_fold(builder, |builder, (key, value)| builder.set(key, value))?
                .open()
                .await
        })
        .expect("opened");
    producer.notify(host.source(PRODUCER));
    producer
}

/// Appends all records, also while the server does not answer, and checks their outcomes.
fn append_everything(host: &mut Host, server: &TestServer, producer: &Producer) {
    let (mut acks, mut settled) = (Vec::<Ack>::new(), Vec::<Settled>::new());
    let mut would_block = 0;
    // Then the limit of bytes in flight is reached for sure.
    server.pause();
    for first in (0..RECORDS).step_by(BATCH) {
        let mut batch = encoded(first);
        acks.push(loop {
            match producer.try_append_encoded(&mut batch) {
                Ok(ack) => break ack,
                Err(error) => {
                    assert_eq!(error.kind().number(), Kind::WouldBlock.number());
                    would_block += 1;
                    server.resume();
                    host.await_ready(PRODUCER);
                    producer.take_settled(&mut settled);
                }
            }
        });
        assert!(batch.is_empty());
    }
    assert!(would_block > 0, "the server was paused");
    let flushed = host.report(|ticket| producer.flush_to(ticket)).expect("durable");
    assert_eq!(flushed, Outcome::Done);
    producer.take_settled(&mut settled);
    let mut next = 0;
    for block in &settled {
        assert_eq!((block.first_sequence, block.result.clone().ok()), (next, Some(next)));
        next += block.count;
    }
    assert_eq!(next, RECORDS as u64);
    for (ack, first) in acks.iter().zip((0..).step_by(BATCH)) {
        let position = ack.try_position().expect("settled").expect("durable");
        assert_eq!((position, ack.count()), (first, BATCH as u64));
    }
}

/// A batch, encoded from payloads one by one or from memory in which they are packed.
fn encoded(first: usize) -> Encoded {
    let mut batch = Encoded::new();
    let (half, end) = (first + BATCH / 2, first + BATCH);
    for number in first..half {
        batch.push(&payload(number)).expect("small");
    }
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for number in half..end {
        data.extend(payload(number));
        ends.push(u32::try_from(data.len()).expect("small"));
    }
    batch.extend_packed(&data, &ends).expect("good ends");
    batch
}

fn open_consumer(host: &mut Host, client: &Client) -> Consumer {
    let consumer = host
        .call(client, |client| async move {
            let builder = client.consumer("orders").set("start", "start")?;
            builder.set("follow", "true")?.set("cursor", "billing")?.open().await
        })
        .expect("opened");
    consumer.notify(host.source(CONSUMER));
    consumer
}

/// The next records.
fn next(host: &mut Host, consumer: &mut Consumer) -> Result<RecordBatch, Error> {
    loop {
        match consumer.try_next_batch()? {
            Polled::Batch(batch) => return Ok(batch),
            Polled::Nothing => host.await_ready(CONSUMER),
            Polled::End => panic!("a follower's read does not end"),
        }
    }
}

/// Reads all records in pieces, and commits. Returns how often the rest of a batch was given back.
fn read_everything(
    host: &mut Host,
    consumer: &mut Consumer,
    check: &impl Fn(&Consumer, bool),
) -> usize {
    let (mut read, mut given_back) = (0, 0);
    while read < RECORDS {
        let batch = next(host, consumer).expect("no error");
        // The host's language has asked for fewer records than a block has.
        let used = batch.len().min(BATCH / 2);
        for record in batch.slice(0..used).iter() {
            assert_eq!((record.position(), record.payload()), (read as u64, &payload(read)[..]));
            read += 1;
        }
        if used < batch.len() {
            consumer.give_back(batch.slice(used..batch.len())).expect("the last ones");
            check(consumer, true);
            given_back += 1;
            if given_back == 1 {
                let stored = host.report(|ticket| consumer.commit_to(ticket)).expect("stored");
                assert_eq!(stored, Outcome::Position(read as u64));
            }
        }
    }
    assert_eq!(consumer.position(), RECORDS as u64);
    let stored = host.report(|ticket| consumer.commit_to(ticket)).expect("stored");
    assert_eq!(stored, Outcome::Position(RECORDS as u64));
    given_back
}

fn seek(host: &mut Host, consumer: &mut Consumer) {
    let moved = host.report(|ticket| consumer.seek_to(7, ticket)).expect("moved");
    assert_eq!(moved, Outcome::Done);
    let batch = next(host, consumer).expect("no error");
    assert_eq!(batch.first_position(), 7);
    let error = host.report(|ticket| consumer.seek_to(1 << 40, ticket)).expect_err("too far");
    assert_eq!(error.kind().number(), Kind::Code(Code::OutOfRange).number());
    assert_eq!(next(host, consumer).expect_err("the same").kind(), error.kind());
    host.report(|ticket| consumer.seek_to(RECORDS as u64, ticket)).expect("moved");
}

/// Another consumer takes the cursor over.
fn lose_the_cursor(host: &mut Host, server: &TestServer, client: &Client, consumer: &mut Consumer) {
    let other = open_consumer(host, client);
    server.append("orders", "one more");
    assert_eq!(next(host, consumer).expect("no error").len(), 1);
    // The other consumer has the position of this one.
    assert_eq!(other.position(), RECORDS as u64);
    let error = host.report(|ticket| consumer.commit_to(ticket)).expect_err("taken");
    assert_eq!(error.kind().number(), Kind::Code(Code::CursorTaken).number());
    drop(other);
}

/// Other threads wake the consumer and the queue, and end the consumer.
fn wake_and_end(host: &mut Host, consumer: &mut Consumer, check: &impl Fn(&Consumer, bool)) {
    while !matches!(consumer.try_next_batch().expect("no error"), Polled::Nothing) {}
    check(consumer, false);
    let handle = consumer.handle();
    let waking = {
        let handle = handle.clone();
        thread::spawn(move || handle.wakeup())
    };
    // A source may also be ready for an earlier reason.
    while !handle.wait(Duration::ZERO) {
        host.await_ready(CONSUMER);
    }
    waking.join().expect("no panic");
    check(consumer, true);
    assert!(matches!(consumer.try_next_batch().expect("no error"), Polled::Nothing));
    check(consumer, false);
    assert!(handle.caught_up() && handle.lag() == 0);

    let queue = host.queue().clone();
    let waking = thread::spawn(move || queue.wakeup());
    host.await_wakeup();
    waking.join().expect("no panic");

    handle.close();
    let error = next(host, consumer).expect_err("closed");
    assert_eq!(error.kind().number(), Kind::Closed.number());
}

fn close_producer(host: &mut Host, producer: &Producer) {
    let closed = host.report(|ticket| producer.close_to(ticket)).expect("durable");
    assert_eq!(closed, Outcome::Done);
    let error = producer.try_append_encoded(&mut encoded(0)).expect_err("closed");
    assert_eq!(error.kind().number(), Kind::Closed.number());
    assert_eq!(producer.stats().acked_records, RECORDS as u64);
}

fn take_events(host: &mut Host, client: &Client) {
    let mut events = Vec::new();
    let has = |events: &mut Vec<_>, subject, kind: fn(&EventKind) -> bool| {
        assert_eq!(client.take_events(events), 0);
        events
            .iter()
            .any(|event: &styx_client::events::Event| event.subject == subject && kind(&event.kind))
    };
    let is_connected: fn(&EventKind) -> bool = |kind| matches!(kind, EventKind::Connected);
    assert!(has(&mut events, Subject::Consumer, is_connected));
    assert!(has(&mut events, Subject::Producer, is_connected));
    while !has(&mut events, Subject::Producer, |kind| matches!(kind, EventKind::Closed)) {
        host.await_ready(EVENTS);
    }
}
