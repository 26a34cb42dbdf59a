//! Tests of I/O errors: the n-th call fails, for every n, once or permanently, with every kind of
//! error.
//!
//! Whichever call fails, no acknowledged record is lost, no record appears that was not sent, and
//! nothing is acknowledged after a failed sync. After a restart on a working disk, the log accepts
//! appends again.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use styx_engine::{Append, AppendError, Appended, Catalog, Error, Log, Producer, Ticket};
use styx_protocol::block::{Block, Checked, Origin, build};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::clock::ManualClock;
use crate::disk::{Disk, ErrorKind, Fault};
use crate::run::{name, options};
use crate::support::poll_once;
use crate::world::read_all;

/// What a scenario did, until its end or its fault.
#[derive(Debug, Default)]
struct History {
    sent: Vec<Vec<u8>>,
    /// The payloads of acknowledged records.
    acked: Vec<Vec<u8>>,
    refused: Vec<Error>,
    /// The last epoch that the log gave to a producer.
    epoch: u32,
    created: bool,
    truncated: bool,
    /// The truncation failed, so the log may or may not be empty.
    truncate_failed: bool,
    statuses: Vec<LogStatus>,
}

/// Returns the result of a ticket if it is finished.
fn poll_result<T>(mut ticket: Ticket<T>) -> Option<Result<T, Error>> {
    poll_once(&mut ticket, Waker::noop())
}

/// How a record is sent.
#[derive(Debug, Clone, Copy)]
enum SendMode {
    Loose(Option<u64>),
    Block(u64),
}

const LOOSE: u64 = 5;
const BLOCKS: u64 = 6;

fn block(epoch: u32, sequence: u64, payload: &[u8]) -> Checked {
    let origin = Origin { producer_id: BLOCKS, producer_epoch: epoch, sequence, expected: None };
    let bytes = build(&Records::one(payload), origin);
    let (block, _) = Block::parse(bytes, 1 << 20).expect("a block");
    block.into_checked(1 << 20).expect("a producer's")
}

fn append(catalog: &Catalog, log: &Log, history: &mut History, mode: SendMode) {
    let payload = format!("record {} {}", history.sent.len(), "x".repeat(40)).into_bytes();
    history.sent.push(payload.clone());
    let append = match mode {
        SendMode::Loose(sequence) => Append::Records {
            records: Records::one(&payload),
            expected: None,
            producer: sequence.map(|sequence| Producer { id: LOOSE, epoch: None, sequence }),
        },
        // The highest epoch, so that no `begin` can fence the block.
        SendMode::Block(sequence) => Append::Block(block(u32::MAX, sequence, &payload)),
    };
    let ticket = match log.append(append) {
        Ok(ticket) => ticket,
        Err(AppendError::QueueFull(_)) => panic!("the queue is full, but it holds only one append"),
        Err(AppendError::Refused(error)) => return history.refused.push(error),
    };
    while catalog.step() {}
    match poll_result(ticket).expect("finished after the commit") {
        Ok(_) => history.acked.push(payload),
        Err(error) => history.refused.push(error),
    }
    history.statuses.push(log.status());
}

/// Begins a producer, and checks that the log never gives out an epoch twice.
fn begin(catalog: &Catalog, log: &Log, history: &mut History) {
    let begun = log.begin_producer(BLOCKS, None).and_then(|ticket| {
        while catalog.step() {}
        poll_result(ticket).expect("finished after the commit")
    });
    match begun {
        Ok(state) => {
            assert!(state.epoch > history.epoch);
            history.epoch = state.epoch;
        }
        Err(error) => history.refused.push(error),
    }
}

/// Creates a log, appends across rolls with pauses, makes a backup, creates and deletes another
/// log, and truncates the first one.
fn scenario(disk: &Disk, clock: &Arc<ManualClock>) -> History {
    let mut history = History::default();
    let Ok(catalog) = Catalog::open(options(disk, clock)) else { return history };
    let config = LogConfig { segment_max_count: 3, ..LogConfig::default() };
    let Ok(log) = catalog.create(&name(), config) else { return history };
    history.created = true;
    for n in 0..12 {
        let sequence = n / 3;
        match n % 3 {
            0 => append(&catalog, &log, &mut history, SendMode::Loose(Some(sequence))),
            1 => begin(&catalog, &log, &mut history),
            _ => append(&catalog, &log, &mut history, SendMode::Loose(None)),
        }
        clock.advance(Duration::from_millis(60));
        catalog.step();
    }
    let _ = log.backup(&mut Vec::new());
    if let Ok(held) = read_all(&log) {
        assert!(held.len() >= history.acked.len(), "a reader misses an acknowledged record");
    }
    let _ = catalog.create(&"other".parse().expect("a name"), config);
    let _ = catalog.delete(&"other".parse().expect("a name"));
    append(&catalog, &log, &mut history, SendMode::Block(0));
    if catalog.truncate(&name()).is_ok() {
        history.truncated = true;
        history.sent.clear();
        history.acked.clear();
        history.epoch = 0;
        let log = catalog.log(&name()).expect("truncated");
        append(&catalog, &log, &mut history, SendMode::Block(0));
    } else {
        history.truncate_failed = true;
    }
    history
}

/// Opens the log after a restart and compares it with the history.
fn check_acked_records(disk: &Disk, clock: &Arc<ManualClock>, history: &History, what: &str) {
    let catalog = Catalog::open(options(disk, clock)).expect(what);
    let log = match catalog.log(&name()) {
        Ok(log) => log,
        Err(Error::LogNotFound { .. }) if !history.created => return,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(log.status(), LogStatus::Ok, "{what}: {:?}", log.append(Records::one(b"")));
    if !history.truncate_failed {
        let known = log.producer(BLOCKS).map_or(0, |known| known.epoch);
        assert!(
            known >= history.epoch,
            "{what}: epoch {} was given out, but the log knows {known}",
            history.epoch
        );
    }
    let held = read_all(&log).expect(what);
    let mut rest = held.iter();
    let acked =
        if history.truncate_failed && held.is_empty() { &[][..] } else { &history.acked[..] };
    for acked in acked {
        assert!(
            rest.any(|record| record == acked),
            "{what}: an acknowledged record is lost: {held:?}"
        );
    }
    for record in &held {
        let times = held.iter().filter(|other| *other == record).count();
        assert_eq!(times, 1, "{what}: a record is stored twice");
        let text = String::from_utf8_lossy(record);
        assert!(history.sent.contains(record), "{what}: {text} was never sent");
    }
    let ticket = log.append(Records::one(b"after")).expect(what);
    while catalog.step() {}
    poll_result(ticket).expect("finished").expect(what);
}

#[test]
fn no_failing_call_loses_an_acked_record() {
    let clock = Arc::new(ManualClock::default());
    let disk = Disk::new(0);
    let history = scenario(&disk, &clock);
    assert!(history.truncated && history.refused.is_empty(), "{:?}", history.refused);
    let calls = disk.calls();
    assert!(calls > 100, "{calls}");
    let kinds = [
        ErrorKind::Io,
        ErrorKind::NoSpace,
        ErrorKind::ReadOnly,
        ErrorKind::Interrupted,
        ErrorKind::Short,
    ];
    for kind in kinds {
        for permanent in [false, true] {
            if permanent && matches!(kind, ErrorKind::Interrupted | ErrorKind::Short) {
                continue;
            }
            for call in 0..calls {
                for power_cut in [None, Some(0), Some(50)] {
                    let what =
                        format!("call {call}, {kind:?}, permanent: {permanent}, {power_cut:?}");
                    let clock = Arc::new(ManualClock::default());
                    let disk = Disk::new(call);
                    disk.fail_after(call, Fault::Error { kind, permanent });
                    let history = scenario(&disk, &clock);
                    if matches!(kind, ErrorKind::Interrupted | ErrorKind::Short) {
                        assert!(history.refused.is_empty(), "{what}: {:?}", history.refused);
                    }
                    disk.restart(power_cut);
                    check_acked_records(&disk, &clock, &history, &what);
                }
            }
        }
    }
}

#[test]
fn a_failed_sync_stops_appends_and_is_never_retried() {
    let clock = Arc::new(ManualClock::default());
    let disk = Disk::new(0);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let mut history = History::default();
    append(&catalog, &log, &mut history, SendMode::Loose(None));
    // On prepared space, the first call of a commit is its write and the second is its sync.
    disk.fail_after(1, Fault::Error { kind: ErrorKind::Io, permanent: false });
    append(&catalog, &log, &mut history, SendMode::Loose(None));
    let before = disk.calls();
    append(&catalog, &log, &mut history, SendMode::Loose(None));
    assert!(matches!(history.refused[0], Error::OutcomeUnknown { .. }), "{:?}", history.refused);
    let Error::NotAvailable { status, cause, .. } = &history.refused[1] else {
        panic!("{:?}", history.refused)
    };
    assert_eq!(*status, LogStatus::Tainted);
    assert!(cause.contains("sync"), "{cause}");
    assert_eq!(disk.calls(), before, "nothing is written or synced after a failed sync");
    assert_eq!(read_all(&log).expect("durable records can be read"), history.acked);
}

#[test]
fn appends_resume_when_a_full_disk_has_space_again() {
    let clock = Arc::new(ManualClock::default());
    let disk = Disk::new(0);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let config = LogConfig { segment_max_count: 5, ..LogConfig::default() };
    let log = catalog.create(&name(), config).expect("created");
    let mut history = History::default();
    append(&catalog, &log, &mut history, SendMode::Loose(None));
    disk.limit_space(Some(0));
    for _ in 0..600 {
        append(&catalog, &log, &mut history, SendMode::Loose(None));
    }
    let full = history.refused.iter().filter(|error| matches!(error, Error::StorageFull { .. }));
    assert!(full.count() > 400, "{:?}", history.refused.first());
    assert_eq!(history.refused.len() + history.acked.len(), 601);
    assert!(history.statuses.iter().all(|status| *status == LogStatus::Ok));
    assert_eq!(read_all(&log).expect("reads continue"), history.acked);
    disk.limit_space(None);
    let refused = history.refused.len();
    for _ in 0..20 {
        append(&catalog, &log, &mut history, SendMode::Loose(None));
    }
    assert_eq!(history.refused.len(), refused, "appends resume without a restart");
    assert_eq!(read_all(&log).expect("read"), history.acked);
    disk.restart(Some(0));
    drop(catalog);
    check_acked_records(&disk, &clock, &history, "after a full disk");
}

#[test]
fn a_nearly_full_disk_refuses_appends_that_do_not_fit() {
    // Regression test. A failed reservation was treated as successful. So the second large append
    // was written to too little space, stopped in the middle, and ended the log's appends.
    for size in [10_000, 70_000, 200_000] {
        for room in [0, 1, 5_000, 9_999, 69_000, 199_000] {
            let (disk, clock) = (Disk::new(0), Arc::new(ManualClock::default()));
            let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
            let log = catalog.create(&name(), LogConfig::default()).expect("created");
            let mut history = History::default();
            append(&catalog, &log, &mut history, SendMode::Loose(None));
            disk.limit_space(Some(disk.used() + room));
            for _ in 0..30 {
                let ticket = log.append(Records::one(&vec![b'x'; size]));
                let ticket = ticket.expect("queued");
                while catalog.step() {}
                match poll_result(ticket).expect("finished") {
                    Ok(_) | Err(Error::StorageFull { .. }) => {}
                    Err(error) => panic!("{size} bytes with room for {room}: {error}"),
                }
                assert_eq!(log.status(), LogStatus::Ok, "{size} bytes with room for {room}");
            }
            disk.limit_space(None);
            append(&catalog, &log, &mut history, SendMode::Loose(None));
            assert_eq!(history.acked.len(), 2, "appends resume without a restart");
        }
    }
}

/// A repeated append in the same group as its original is acknowledged together with it. If the
/// group fails, the repeated append and everything that depends on it must fail too. A repeated
/// append of an earlier group is still acknowledged.
#[test]
fn a_repetition_in_a_failed_group_fails_with_it() {
    for kind in [ErrorKind::Io, ErrorKind::NoSpace] {
        let clock = Arc::new(ManualClock::default());
        let disk = Disk::new(0);
        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let log = catalog.create(&name(), LogConfig::default()).expect("created");
        let queue = |block| log.append(block).expect("queued");
        let durable = queue(block(1, 0, b"durable"));
        while catalog.step() {}
        poll_result(durable).expect("finished").expect("appended");

        let stream = log.stream();
        // With `Io` the sync fails, with `NoSpace` the write before it.
        let call = if kind == ErrorKind::Io { 1 } else { 0 };
        disk.fail_after(call, Fault::Error { kind, permanent: false });
        let again = queue(block(1, 0, b"durable"));
        let failing = [
            queue(block(1, 1, b"new")),
            queue(block(1, 1, b"new")),
            // Refused because of an append that fails.
            queue(block(1, 1, b"other")),
            stream.append(block(1, 9, b"ahead")).expect("queued"),
        ];
        let begun = log.begin_producer(BLOCKS, None).expect("accepted");
        while catalog.step() {}
        let repeated = Appended { base: Position(0), end: Position(1), count: 0, repeated: 1 };
        assert_eq!(
            poll_result(again).expect("finished").expect("the original is durable"),
            repeated
        );
        let is_failure = |error: &Error| match kind {
            ErrorKind::NoSpace => matches!(error, Error::StorageFull { .. }),
            _ => matches!(error, Error::OutcomeUnknown { .. }),
        };
        for ticket in failing {
            let failed = poll_result(ticket).expect("finished").expect_err("the group failed");
            assert!(is_failure(&failed), "{failed}");
        }
        let failed = poll_result(begun).expect("finished").expect_err("the group failed");
        assert!(is_failure(&failed), "{failed}");
        let failed = stream.append(block(1, 1, b"later")).expect_err("its stream failed");
        assert!(matches!(&failed, AppendError::Refused(error) if is_failure(error)), "{failed}");
        let known = log.producer(BLOCKS).expect("known");
        assert_eq!(
            (known.epoch, known.next_sequence),
            (1, Some(1)),
            "the failed group changes no producer"
        );

        if kind == ErrorKind::NoSpace {
            let new = queue(block(1, 1, b"new"));
            while catalog.step() {}
            let appended = poll_result(new).expect("finished").expect("the disk has space again");
            assert_eq!((appended.base, appended.count), (Position(1), 1));
        }
    }
}
