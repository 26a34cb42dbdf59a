//! The blocking consumer.

use std::time::Duration;

use styx_client::blocking::{Client, Consumer};
use styx_client::consumer::{Polled, Start};
use styx_client::{Kind, OwnedRecord};

use crate::log::Log;
use crate::peer::Peer;
use crate::{PATIENCE, seen};

fn consumer(peer: &Peer) -> Consumer {
    let client = Client::builder(&peer.address()).build().expect("good options");
    client.consumer("orders").start(2).follow(true).count(6).open().expect("opens")
}

#[test]
fn batches_iterate_to_the_end() {
    let log = Log::of(10, 3);
    let served = log.clone();
    let peer = Peer::start(move |connection| connection.serve(&served, usize::MAX));
    let mut consumer = consumer(&peer);
    let first = consumer.next_record().expect("no error").map(|record| record.position());
    assert_eq!(first, Some(2));
    let batches: Result<Vec<_>, _> = consumer.batches().collect();
    let records: Vec<_> = batches.expect("no error").iter().flat_map(seen).collect();
    assert_eq!(records, log.records(3, 8));
    assert!(consumer.batches().next().is_none());
    consumer.seek(Start::Position(9)).expect("seeks");
    assert_eq!((consumer.position(), consumer.lag(), consumer.caught_up()), (9, 1, false));
    assert_eq!(consumer.checkpoint().log_id, log.id);
}

#[test]
fn records_iterate_over_owned_records() {
    let log = Log::of(10, 3);
    let served = log.clone();
    let peer = Peer::start(move |connection| connection.serve(&served, usize::MAX));
    let mut consumer = consumer(&peer);
    let mut kept = Vec::new();
    for record in consumer.records().take(2) {
        kept.push(record.expect("no error"));
    }
    assert_eq!(consumer.position(), 4, "behind what was given out");
    assert_eq!(kept[1].checkpoint(), consumer.checkpoint());
    let batch = consumer.next_batch().expect("no error").expect("what comes next");
    assert_eq!(batch.first_position(), 4, "and nothing else is taken");
    consumer.give_back(batch).expect("the last ones");
    let rest: Result<Vec<_>, _> = consumer.records().collect();
    kept.extend(rest.expect("no error"));
    assert!(consumer.records().next().is_none());
    drop(consumer);
    let owned = |r: OwnedRecord| (r.position(), r.timestamp(), r.into_payload().to_vec());
    let kept: Vec<_> = kept.into_iter().map(owned).collect();
    assert_eq!(kept, log.records(2, 8), "they outlive it");
}

#[test]
fn error_is_the_last_item_of_records() {
    let log = Log::of(10, 3);
    let peer = Peer::start(move |connection| connection.serve(&log, usize::MAX));
    let mut consumer = consumer(&peer);
    let handle = consumer.handle();
    let mut records = consumer.records();
    assert!(records.next().is_some_and(|record| record.is_ok()));
    handle.close();
    // First the received records, then the error, then nothing.
    let items: Vec<_> = records.by_ref().map(|item| item.map_err(|e| e.kind())).collect();
    assert!(matches!(items[..], [.., Err(Kind::Closed)]), "{items:?}");
    assert!(items[..items.len() - 1].iter().all(Result::is_ok) && records.next().is_none());
}

#[test]
fn poll_ends_at_its_timeout_and_keeps_received_batches() {
    let log = Log::of(10, 5);
    let served = log.clone();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let peer = Peer::start(move |mut connection| {
        connection.agree(&served, 2);
        wait.lock().expect("no panic").recv().expect("told");
        connection.send_blocks(&served, 2, 5);
        connection.wait_for_end();
    });
    let mut consumer = consumer(&peer);
    for time in [Duration::ZERO, Duration::from_millis(5)] {
        assert!(matches!(consumer.poll(time), Ok(Polled::Nothing)));
    }
    consumer.handle().wakeup();
    assert!(matches!(consumer.poll(PATIENCE), Ok(Polled::Nothing)));
    go.send(()).expect("served");
    let Ok(Polled::Batch(batch)) = consumer.poll(PATIENCE) else { panic!("no batch") };
    assert_eq!(seen(&batch), log.records(2, 5));
    consumer.give_back(batch.slice(1..3)).expect("the last ones");
    let Ok(Polled::Batch(batch)) = consumer.poll(Duration::ZERO) else { panic!("no batch") };
    assert_eq!(seen(&batch), log.records(3, 5));
    consumer.close();
    let items: Vec<_> = consumer.batches().map(|item| item.map_err(|e| e.kind())).collect();
    assert!(matches!(items[..], [Err(Kind::Closed)]), "{items:?}");
}
