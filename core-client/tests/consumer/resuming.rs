//! Connections that end early: the read continues at its position.

use std::sync::Mutex;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use styx_client::consumer::{Builder, Start};
use styx_client::{Checkpoint, Code, Codec, Kind, LogConfig, LogId};
use styx_protocol::frame::{Ends, Fault};
use styx_protocol::{Position, Whence, header};

use crate::log::Log;
use crate::peer::Peer;
use crate::{client, take, wait};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// For all codecs and all places where connections break: every requested record is
    /// returned once, in order.
    #[test]
    fn disconnects_leave_no_gap_and_repeat_nothing(
        blocks in vec((0usize..3, vec(vec(0u8..3, 0..2500), 1..30)), 1..10),
        start in 0.0f64..1.0,
        count in proptest::option::of(0u64..200),
        follow in any::<bool>(),
        cuts in vec(0.0f64..1.0, 0..6),
        one_by_one in any::<bool>(),
    ) {
        let mut log = Log::new(7, 100);
        for (codec, payloads) in &blocks {
            log.append(Codec::ALL[*codec], payloads);
        }
        let start = 100 + ((log.end() - 100) as f64 * start) as u64;
        // A read that follows the log only ends by its count.
        let count = if follow { Some(count.unwrap_or(50).min(log.end() - start)) } else { count };
        let until = count.map_or(log.end(), |count| (start + count).min(log.end()));
        let expected = log.records(start, until);
        let bytes = log.frames(start, until).len() as f64;
        let peer = Peer::start(move |connection| {
            let cut = cuts.get(connection.number).map(|share| (share * bytes) as usize);
            connection.serve(&log, cut.unwrap_or(usize::MAX));
        });
        let client = client(&peer);
        let mut builder = client.consumer("orders").start(start).follow(follow);
        if let Some(count) = count {
            builder = builder.count(count);
        }
        let mut consumer = wait(builder.open()).expect("opens");
        let mut seen = Vec::new();
        if one_by_one {
            while let Some(r) = wait(consumer.next_record()).expect("no error") {
                seen.push((r.position(), r.timestamp(), r.payload().to_vec()));
            }
        } else {
            seen = take(&mut consumer, usize::MAX);
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(consumer.position(), until);
    }
}

#[test]
fn reconnect_requests_the_rest_of_the_same_log() {
    let log = Log::of(20, 5);
    let half = log.frames(2, 10).len();
    let served = log.clone();
    let peer = Peer::start(move |connection| {
        let cut = if connection.number == 0 { half } else { usize::MAX };
        connection.serve(&served, cut);
    });
    let start = Start::Relative { whence: Whence::Start, position: 2 };
    let builder = client(&peer).consumer("orders").start(start).count(15);
    let mut consumer = wait(builder.open()).expect("opens");
    assert_eq!(take(&mut consumer, 100), log.records(2, 17));
    let [_, again] = &peer.requests()[..] else { panic!("two connections") };
    assert_eq!((again.params.whence, again.params.position), (Whence::Origin, 10));
    assert_eq!((again.params.count, again.params.follow), (Some(7), false));
    assert_eq!(again.header(header::LOG_ID), Some(LogId(7).to_string().as_str()));
    assert_eq!(again.header(header::KNOWN_END), Some("20"));
}

/// A read without `follow` ends at the end that the log had when the read began, even if
/// records are appended while it has no connection.
#[test]
fn interrupted_read_ends_at_its_original_end() {
    let before = Log::of(10, 2);
    let after = Log::of(30, 2);
    let (cut, asked) = (before.frames(0, 4).len(), before.records(0, 10));
    let peer = Peer::start(move |connection| match connection.number {
        0 => connection.serve(&before, cut),
        _ => connection.serve(&after, usize::MAX),
    });
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert_eq!(take(&mut consumer, 100), asked);
    assert_eq!(peer.requests()[1].params.count, Some(6));
}

/// An end frame before the last record does not end the read: the rest is requested.
#[test]
fn early_end_frame_does_not_end_the_read() {
    let log = Log::of(10, 2);
    let all = log.records(0, 10);
    let peer = Peer::start(move |mut connection| match connection.number {
        0 => {
            connection.agree(&log, 0);
            connection.send_blocks(&log, 0, 6);
            connection.send_end();
        }
        _ => connection.serve(&log, usize::MAX),
    });
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert_eq!(take(&mut consumer, 100), all);
    assert_eq!(peer.requests()[1].params.position, 6);
}

/// Serves five records and ends the second connection with `end`. Returns the error of the
/// read and the number of connections.
fn end_of(
    end: impl Fn(crate::peer::Connection) + Send + Sync + 'static,
) -> (styx_client::Error, usize) {
    let log = Log::of(10, 1);
    let cut = log.frames(0, 5).len();
    let peer = Peer::start(move |connection| match connection.number {
        0 => connection.serve(&log, cut),
        _ => end(connection),
    });
    let builder = client(&peer).consumer("orders").follow(true);
    let mut consumer = wait(builder.open()).expect("opens");
    assert_eq!(take(&mut consumer, 5).len(), 5);
    let error = wait(consumer.next_batch()).expect_err("the end");
    let again = wait(consumer.next_batch()).expect_err("it lasts");
    assert_eq!(error.message(), again.message());
    assert_eq!(consumer.position(), 5);
    (error, peer.requests().len())
}

#[test]
fn fatal_errors_of_the_server_are_not_retried() {
    let (error, connections) = end_of(|connection| {
        let json = r#"{"code":"out_of_range","message":"m","start_position":7,"end_position":9}"#;
        connection.refuse(416, json);
    });
    assert_eq!((error.kind(), connections), (Kind::Code(Code::OutOfRange), 2));
    assert_eq!(error.facts().start_position, Some(7), "the first kept record");

    for code in [Code::LogChanged, Code::LogEndRegressed, Code::LogNotFound, Code::Unauthorized] {
        let (error, connections) = end_of(move |connection| {
            connection.refuse(code.http_status(), &format!(r#"{{"code":"{code}"}}"#));
        });
        assert_eq!((error.kind(), connections), (Kind::Code(code), 2));
    }

    let (error, connections) = end_of(|mut connection| {
        let log = Log::of(10, 1);
        connection.agree(&log, 5);
        let ends = Ends { start: Position(8), end: Position(9) };
        connection.send_error(&Fault::new(Code::OutOfRange, "overtaken").with_ends(ends));
    });
    assert_eq!((error.kind(), connections), (Kind::Code(Code::OutOfRange), 2));
    assert_eq!(error.facts().start_position, Some(8));
}

/// Even if a server does not check the log's id, a consumer must not read the records of
/// another log.
#[test]
fn recreated_log_with_the_same_name_is_detected() {
    let (error, connections) = end_of(|connection| {
        let mut other = Log::of(10, 1);
        other.id = LogId(8);
        connection.serve(&other, usize::MAX);
    });
    assert_eq!((error.kind(), connections), (Kind::Code(Code::LogChanged), 2));
}

/// A log of 20 records, of which the archive has 12, is restored while a consumer has no connection.
/// The consumer has received `received` records.
fn restored_after(received: u64, builder: impl Fn(Builder) -> Builder) -> Restored {
    let (log, mut restored) = (Log::of(20, 4), Log::of(16, 4));
    restored.id = LogId(8);
    let cut = log.frames(0, received).len();
    let served = log.clone();
    let peer = Peer::start(move |mut connection| match connection.number {
        0 => connection.serve(&served, cut),
        _ => {
            connection.line = format!("{}: {}:12\r\n", header::RESTORED_FROM, LogId(7));
            connection.serve(&restored, usize::MAX);
        }
    });
    let client = client(&peer);
    let mut consumer = wait(builder(client.consumer("orders")).open()).expect("opens");
    let mut checkpoints = Vec::new();
    let end = loop {
        match wait(consumer.next_batch()) {
            Ok(Some(batch)) => {
                assert_eq!(batch.first_position(), checkpoints.last().map_or(0, next_of));
                checkpoints.push(consumer.checkpoint());
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    Restored { checkpoints, end }
}

fn next_of(checkpoint: &Checkpoint) -> u64 {
    checkpoint.next.0
}

struct Restored {
    checkpoints: Vec<Checkpoint>,
    end: Result<(), styx_client::Error>,
}

#[test]
fn consumer_at_or_before_the_fork_continues_in_the_restored_log() {
    for received in [4, 8, 12] {
        let seen = restored_after(received, |builder| builder.follow(true).count(16));
        assert!(seen.end.is_ok(), "{:?}", seen.end);
        let last = seen.checkpoints.last().expect("records");
        assert_eq!((last.log_id, last.next), (LogId(8), Position(16)), "after {received}");
        let mut of_old = seen.checkpoints.iter().filter(|checkpoint| checkpoint.log_id == LogId(7));
        assert_eq!(of_old.next_back().map(next_of), Some(received));
    }
}

#[test]
fn consumer_after_the_fork_gets_log_changed_with_the_fork() {
    let seen = restored_after(16, |builder| builder.follow(true).count(20));
    let error = seen.end.expect_err("records after the fork were received");
    assert_eq!(error.kind(), Kind::Code(Code::LogChanged));
    assert_eq!(error.facts().fork_position, Some(12));
    assert_eq!(
        seen.checkpoints.last().map(|last| (last.log_id, last.next.0)),
        Some((LogId(7), 16))
    );
}

/// A read without `follow` returns all records up to the end that the log had when it began. The
/// restored log does not have them.
#[test]
fn finite_read_beyond_the_fork_gets_log_changed() {
    let seen = restored_after(4, |builder| builder);
    assert_eq!(seen.end.expect_err("20 records").facts().fork_position, Some(12));
    let seen = restored_after(4, |builder| builder.count(12));
    assert!(seen.end.is_ok(), "{:?}", seen.end);
    assert_eq!(seen.checkpoints.last().map(next_of), Some(12));
}

#[test]
fn response_with_another_position_is_rejected() {
    let (error, connections) = end_of(|mut connection| {
        let log = Log::of(10, 1);
        connection.agree(&log, 6);
        connection.send_blocks(&log, 6, 10);
        connection.wait_for_end();
    });
    assert_eq!((error.kind(), connections), (Kind::BadAnswer, 2));
}

#[test]
fn temporary_errors_are_retried() {
    let log = Log::of(10, 1);
    let (cut, all) = (log.frames(0, 3).len(), log.records(0, 10));
    let peer = Peer::start(move |mut connection| match connection.number {
        0 => connection.refuse(503, r#"{"code":"log_not_available","status":"scanning"}"#),
        1 => connection.serve(&log, cut),
        2 => connection.refuse(503, r#"{"code":"shutting_down"}"#),
        3 => drop(connection),
        4 => {
            let position = connection.position(&log);
            connection.agree(&log, position);
            connection.send_blocks(&log, 3, 6);
            connection.send_error(&Fault::new(Code::ShuttingDown, "later"));
        }
        _ => connection.serve(&log, usize::MAX),
    });
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert_eq!(take(&mut consumer, 100), all);
    let positions: Vec<i64> = peer.requests().iter().map(|r| r.params.position).collect();
    assert_eq!(positions, [0, 0, 3, 3, 3, 6]);
}

#[test]
fn open_fails_with_the_servers_error() {
    let refuse = |status, json: &'static str| {
        let peer = Peer::start(move |connection| connection.refuse(status, json));
        let error = wait(client(&peer).consumer("orders").open()).expect_err("refused");
        assert_eq!(peer.requests().len(), 1);
        error
    };
    let error = refuse(404, r#"{"code":"log_not_found","message":"no such log"}"#);
    assert_eq!((error.code(), error.message()), ("log_not_found", "no such log"));
    assert_eq!(refuse(400, "<html>").kind(), Kind::BadAnswer);

    let peer = Peer::start(drop);
    let client = client(&peer);
    let error = |builder: styx_client::consumer::Builder| wait(builder.open()).expect_err("bad");
    assert_eq!(error(client.consumer("no/name")).kind(), Kind::Code(Code::LogNotFound));
    assert_eq!(error(client.consumer("a").start(u64::MAX)).kind(), Kind::InvalidArgument);
    assert_eq!(error(client.consumer("a").buffer_bytes(7)).kind(), Kind::InvalidArgument);
    let none = Some(Duration::ZERO);
    assert_eq!(error(client.consumer("a").deadline(none)).kind(), Kind::InvalidArgument);
    assert!(peer.requests().is_empty());
}

#[test]
fn open_fails_at_the_clients_timeout() {
    let peer = Peer::start(drop);
    let address = peer.address();
    let builder = styx_client::Client::builder(&address).timeout(Duration::from_millis(500));
    let client = builder.clone().build().expect("good options");
    let error = wait(client.consumer("orders").open()).expect_err("nobody answers");
    assert_eq!(error.kind(), Kind::ConnectionFailed);
    assert!(peer.requests().len() > 1, "it was tried again");

    let before = peer.requests().len();
    let client = builder.retry(false).build().expect("good options");
    wait(client.consumer("orders").open()).expect_err("nobody answers");
    assert_eq!(peer.requests().len(), before + 1);
}

#[test]
fn timeout_during_a_later_attempt_reports_the_error_of_the_attempt_before() {
    let held = Mutex::new(Vec::new());
    let peer = Peer::start(move |connection| {
        // Of each kind of call, the first is refused at once, and the second never answered.
        if connection.number % 2 == 1 {
            held.lock().expect("no panic").push(connection.stream);
        }
    });
    let builder = styx_client::Client::builder(&peer.address()).timeout(Duration::from_secs(1));
    let client = builder.build().expect("good options");
    let opening = wait(client.consumer("orders").open()).expect_err("nobody answers");
    assert_eq!(opening.kind(), Kind::ConnectionFailed, "{opening}");
    let call = wait(client.get_log("orders")).expect_err("nobody answers");
    assert_eq!((call.kind(), call.maybe_appended()), (Kind::ConnectionFailed, false), "{call}");
    // Whether the log was created is not known, and the error must say so.
    let unsafe_call = wait(client.create_log("orders", LogConfig::default(), false));
    let unsafe_call = unsafe_call.expect_err("nobody answers");
    assert!(unsafe_call.maybe_appended(), "{unsafe_call}");
    assert_eq!(peer.requests().len(), 5);
}

#[test]
fn deadline_ends_a_read_whose_server_is_unreachable() {
    let log = Log::of(10, 1);
    let (cut, gone) = (log.frames(0, 3).len(), Mutex::new(Some(())));
    let peer = Peer::start(move |connection| {
        if gone.lock().expect("no panic").take().is_some() {
            connection.serve(&log, cut);
        }
    });
    let deadline = Some(Duration::from_millis(200));
    let builder = client(&peer).consumer("orders").follow(true).deadline(deadline);
    let mut consumer = wait(builder.open()).expect("opens");
    assert_eq!(take(&mut consumer, 3).len(), 3);
    let error = wait(consumer.next_batch()).expect_err("no server");
    assert_eq!((error.kind(), error.is_retriable()), (Kind::TimedOut, true));
    assert!(peer.requests().len() > 2);
}
