//! Clients of a log that was restored from the archive: up to the fork they continue, and after it
//! they are told where it is.

use std::time::Duration;

use serde_json::json;
use styx_client::blocking::Client;
use styx_client::consumer::{Polled, Start};
use styx_client::{Checkpoint, Code, Kind, LogId};
use styx_protocol::Position;
use styx_tests::proxy::Proxy;
use styx_tests::{Request, TestServer};

use crate::support::{
    Archive, append, await_archived, await_finished_archived, fill, restore_in_place,
};

fn client(address: std::net::SocketAddr) -> Client {
    Client::builder(&format!("styx://{address}")).build().expect("a client")
}

fn id_of(server: &TestServer) -> LogId {
    server.log_id("a").parse().expect("an id")
}

/// Opens a consumer with this checkpoint, and returns its next `count` records and its checkpoint
/// after them.
fn resume(
    server: &TestServer,
    (log_id, next): (LogId, u64),
    count: usize,
) -> Result<(Vec<Vec<u8>>, Checkpoint), styx_client::Error> {
    let checkpoint = Checkpoint { log_id, next: Position(next) };
    let client = client(server.address());
    let mut consumer = client.consumer("a").start(Start::Checkpoint(checkpoint)).open()?;
    let mut records = Vec::new();
    while records.len() < count {
        let record = consumer.next_record().expect("no error").expect("a record");
        assert_eq!(record.position(), next + records.len() as u64);
        records.push(record.payload().to_vec());
    }
    Ok((records, consumer.checkpoint()))
}

#[test]
fn checkpoints_up_to_the_fork_stay_valid_through_several_restores() {
    let archive = Archive::start();
    let mut server = archive.settings_with_lag(3600, "").start();
    let first = fill(&server, "a", 400);
    let fork = await_finished_archived(&server, "a");
    assert!(0 < fork && fork < 400, "the newest segment is lost: {fork}");
    let original = id_of(&server);
    server.kill();
    restore_in_place(&archive, &mut server);

    let restored = id_of(&server);
    let second = append(&server, "a", 1000, 400);
    let records = [&first[..fork as usize], &second].concat();
    let (read, checkpoint) = resume(&server, (original, fork - 10), 20).expect("it continues");
    assert_eq!(read, records[fork as usize - 10..fork as usize + 10]);
    assert_eq!((checkpoint.log_id, checkpoint.next.0), (restored, fork + 10));
    let (read, checkpoint) = resume(&server, (original, fork), 0).expect("it continues");
    assert_eq!((read.len(), checkpoint.next.0), (0, fork));
    let error = resume(&server, (original, fork + 1), 0).expect_err("after the fork");
    assert!(error.kind() == Kind::Code(Code::LogChanged), "{error}");
    assert_eq!(error.facts().fork_position, Some(fork));

    // A log that was restored from a restored one knows both forks.
    let later = await_finished_archived(&server, "a");
    assert!(later > fork);
    server.kill();
    restore_in_place(&archive, &mut server);
    append(&server, "a", 2000, 5);
    for (id, fork) in [(original, fork), (restored, later)] {
        let (_, checkpoint) = resume(&server, (id, fork), 1).expect("it continues");
        assert_eq!(checkpoint.log_id, id_of(&server));
        let error = resume(&server, (id, fork + 1), 0).expect_err("after the fork");
        assert_eq!(error.facts().fork_position, Some(fork), "{error}");
    }
    // A truncate ends the lineage: its positions refer to other records.
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    append(&server, "a", 0, 1);
    let error = resume(&server, (original, 0), 0).expect_err("another log");
    assert!(
        error.kind() == Kind::Code(Code::LogChanged) && error.facts().fork_position.is_none(),
        "{error}"
    );
}

#[test]
fn http_requests_with_the_id_of_an_ancestor_are_answered_up_to_the_fork() {
    let archive = Archive::start();
    let mut server = archive.settings_with_lag(3600, "").start();
    fill(&server, "a", 400);
    let fork = await_finished_archived(&server, "a");
    let original = server.log_id("a");
    server.kill();
    restore_in_place(&archive, &mut server);
    let end = append(&server, "a", 0, 5).len() as u64 + fork;

    let with_id = |request: Request| request.header("X-Styx-Log-Id", &original);
    let read =
        |position: u64| with_id(Request::get(&format!("/logs/a/records?position={position}")));
    let answer = server.ask(&read(fork).header("X-Styx-Known-End", 400)).expect(200);
    assert_eq!(answer.header("X-Styx-Restored-From"), Some(&*format!("{original}:{fork}")));
    assert_eq!(answer.header("X-Styx-Log-Id"), Some(&*server.log_id("a")));
    let refused = |request: Request| {
        let json = server.ask(&request).expect_error(409, "log_changed").json();
        assert_eq!(json["fork_position"], fork, "{json}");
    };
    refused(read(fork + 1));
    // Only a position can be before the fork. Without one, it has to be the same log.
    for request in [
        Request::delete("/logs/a"),
        Request::post("/logs/a/truncate"),
        Request::get("/logs/a"),
        Request::post("/logs/a/records").body("x"),
        Request::post("/logs/a/records").body("x").header("X-Styx-Known-End", fork + 1),
        Request::post("/logs/a/records").body("x").header("X-Styx-Expected-Position", end),
    ] {
        refused(with_id(request));
    }
    let append = Request::post("/logs/a/records").body("x").header("X-Styx-Known-End", fork);
    let _ = server.ask(&with_id(append)).expect(200);

    let set = |position: u64| {
        let body = json!({ "position": position, "log_id": original }).to_string();
        Request::new("PUT", "/logs/a/cursors/c").typed("application/json", body)
    };
    let cursor = server.ask(&set(fork)).expect(200).json();
    assert_eq!(
        (&cursor["position"], &cursor["log_id"]),
        (&fork.into(), &server.log_id("a").into())
    );
    refused(set(fork + 1));
    let events = |position: u64| {
        Request::get("/logs/a/records?count=1&event_ids=checkpoint")
            .header("Accept", "text/event-stream")
            .header("Last-Event-ID", format!("{original}:{position}"))
    };
    let answer = server.ask(&events(fork)).expect(200);
    let expected = format!("id: {}:{}\n", server.log_id("a"), fork + 1);
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains(&expected), "{body}");
    refused(events(fork + 1));
}

/// Everything is archived when the disk is lost, so nobody has seen a record that is lost.
#[test]
fn running_clients_continue_in_the_restored_log_without_loss_or_repetition() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    server.create("a");
    let proxy = Proxy::start(server.address(), 1);
    let client = client(proxy.address());
    let producer = client.producer("a").producer_id(7).open().expect("a producer");
    let idle = client.producer("a").producer_id(8).open().expect("a producer without records");
    let mut consumer = client.consumer("a").follow(true).open().expect("a consumer");
    let mut received = Vec::new();
    let mut receive = |until: u64| {
        while (received.len() as u64) < until {
            match consumer.poll(Duration::from_secs(60)).expect("no error") {
                Polled::Batch(batch) => {
                    received.extend(batch.iter().map(|record| record.payload().to_vec()));
                }
                other => panic!("{other:?}"),
            }
        }
        consumer.checkpoint()
    };
    let mut ids = vec![id_of(&server)];
    for round in 0..3_u64 {
        let acks: Vec<_> = (round * 100..round * 100 + 100)
            .map(|number| producer.append(number.to_string().as_bytes()).expect("taken"))
            .collect();
        for (ack, number) in acks.iter().zip(round * 100..) {
            assert_eq!(ack.position().expect("acked"), number);
        }
        let checkpoint = receive(round * 100 + 100);
        assert_eq!(checkpoint.log_id, id_of(&server));
        await_archived(&server, "a");
        server.kill();
        restore_in_place(&archive, &mut server);
        proxy.forward_to(server.address());
        assert!(!ids.contains(&id_of(&server)));
        ids.push(id_of(&server));
    }
    assert_eq!(idle.append(b"300").expect("taken").position().expect("acked"), 300);
    let checkpoint = receive(301);
    assert_eq!((checkpoint.log_id, checkpoint.next.0), (id_of(&server), 301));
    let expected: Vec<_> = (0..301).map(|number: u64| number.to_string().into_bytes()).collect();
    assert!(received == expected);
}

#[test]
fn producer_whose_acknowledged_records_are_lost_gets_log_changed() {
    let archive = Archive::start();
    let mut server = archive.settings_with_lag(3600, "").start();
    fill(&server, "a", 400);
    let fork = await_finished_archived(&server, "a");
    let proxy = Proxy::start(server.address(), 1);
    let client = client(proxy.address());
    let producer = client.producer("a").producer_id(7).open().expect("a producer");
    let ack = producer.append(b"lost").expect("taken");
    assert_eq!(ack.position().expect("acked"), 400);
    server.kill();
    restore_in_place(&archive, &mut server);
    proxy.forward_to(server.address());
    let ack = producer.append(b"next").expect("taken");
    let error = ack.position().expect_err("an acknowledged record is lost");
    assert!(error.kind() == Kind::Code(Code::LogChanged), "{error}");
    assert_eq!(error.facts().fork_position, Some(fork));
    // Nothing of it is in the log.
    assert_eq!(server.read_all("a").len() as u64, fork);
}
