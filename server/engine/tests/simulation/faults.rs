//! Errors instead of crashes: the n-th call fails, for every n, once or permanently, with every
//! kind of error.
//!
//! Whichever call fails, no acknowledged record is lost, no record appears that was not sent,
//! and nothing is acknowledged after a failed sync. After a restart on a working disk the log
//! accepts appends again.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use styx_engine::{Append, AppendError, Appended, Catalog, Error, Log, Producer, Ticket};
use styx_protocol::block::{Block, Checked, Origin, build};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::clock::Hands;
use crate::disk::{Disk, ErrorKind, Fault};
use crate::run::{name, options};
use crate::support::poll_once;
use crate::world::read_all;

/// What a scenario did, up to its end or its fault.
#[derive(Debug, Default)]
struct Done {
    sent: Vec<Vec<u8>>,
    /// What was acked, and what a reader saw.
    acked: Vec<Vec<u8>>,
    refused: Vec<Error>,
    /// The last one that a producer was given.
    epoch: u32,
    created: bool,
    emptied: bool,
    /// An emptying failed: either log may be there.
    half_emptied: bool,
    statuses: Vec<LogStatus>,
}

fn answer<T>(mut ticket: Ticket<T>) -> Option<Result<T, Error>> {
    poll_once(&mut ticket, Waker::noop())
}

/// How a record is sent.
#[derive(Debug, Clone, Copy)]
enum How {
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

fn append(catalog: &Catalog, log: &Log, done: &mut Done, how: How) {
    let payload = format!("record {} {}", done.sent.len(), "x".repeat(40)).into_bytes();
    done.sent.push(payload.clone());
    let append = match how {
        How::Loose(sequence) => Append::Records {
            records: Records::one(&payload),
            expected: None,
            producer: sequence.map(|sequence| Producer { id: LOOSE, epoch: None, sequence }),
        },
        // Never lower than what a `begin` was given.
        How::Block(sequence) => Append::Block(block(u32::MAX, sequence, &payload)),
    };
    let ticket = match log.append(append) {
        Ok(ticket) => ticket,
        Err(AppendError::QueueFull(_)) => panic!("the queue is never full here"),
        Err(AppendError::Refused(error)) => return done.refused.push(error),
    };
    while catalog.step() {}
    match answer(ticket).expect("answered once committed") {
        Ok(_) => done.acked.push(payload),
        Err(error) => done.refused.push(error),
    }
    done.statuses.push(log.status());
}

/// A producer begins; an epoch that it was given is never given again.
fn begin(catalog: &Catalog, log: &Log, done: &mut Done) {
    let begun = log.begin_producer(BLOCKS, None).and_then(|ticket| {
        while catalog.step() {}
        answer(ticket).expect("answered once committed")
    });
    match begun {
        Ok(state) => {
            assert!(state.epoch > done.epoch);
            done.epoch = state.epoch;
        }
        Err(error) => done.refused.push(error),
    }
}

/// Create, append across rolls, quiet times, a trim, a backup, an emptying.
fn scenario(disk: &Disk, clock: &Arc<Hands>) -> Done {
    let mut done = Done::default();
    let Ok(catalog) = Catalog::open(options(disk, clock)) else { return done };
    let config = LogConfig { segment_max_count: 3, ..LogConfig::default() };
    let Ok(log) = catalog.create(&name(), config) else { return done };
    done.created = true;
    for n in 0..12 {
        let sequence = n / 3;
        match n % 3 {
            0 => append(&catalog, &log, &mut done, How::Loose(Some(sequence))),
            1 => begin(&catalog, &log, &mut done),
            _ => append(&catalog, &log, &mut done, How::Loose(None)),
        }
        clock.advance(Duration::from_millis(60));
        catalog.step();
    }
    let _ = log.backup(&mut Vec::new());
    if let Ok(held) = read_all(&log) {
        assert!(held.len() >= done.acked.len(), "a reader misses what was acked");
    }
    let _ = catalog.create(&"other".parse().expect("a name"), config);
    let _ = catalog.delete(&"other".parse().expect("a name"));
    append(&catalog, &log, &mut done, How::Block(0));
    if catalog.truncate(&name()).is_ok() {
        done.emptied = true;
        done.sent.clear();
        done.acked.clear();
        done.epoch = 0;
        let log = catalog.log(&name()).expect("emptied");
        append(&catalog, &log, &mut done, How::Block(0));
    } else {
        done.half_emptied = true;
    }
    done
}

fn holds_what_was_acked(disk: &Disk, clock: &Arc<Hands>, done: &Done, what: &str) {
    let catalog = Catalog::open(options(disk, clock)).expect(what);
    let log = match catalog.log(&name()) {
        Ok(log) => log,
        Err(Error::LogNotFound { .. }) if !done.created => return,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(log.status(), LogStatus::Ok, "{what}: {:?}", log.append(Records::one(b"")));
    if !done.half_emptied {
        let known = log.producer(BLOCKS).map_or(0, |known| known.epoch);
        assert!(known >= done.epoch, "{what}: epoch {} was given, {known} is known", done.epoch);
    }
    let held = read_all(&log).expect(what);
    let mut rest = held.iter();
    let acked = if done.half_emptied && held.is_empty() { &[][..] } else { &done.acked[..] };
    for acked in acked {
        assert!(rest.any(|record| record == acked), "{what}: an acked record is lost: {held:?}");
    }
    for record in &held {
        let times = held.iter().filter(|other| *other == record).count();
        assert_eq!(times, 1, "{what}: a record is there twice");
        let text = String::from_utf8_lossy(record);
        assert!(done.sent.contains(record), "{what}: {text} was never sent");
    }
    let ticket = log.append(Records::one(b"after")).expect(what);
    while catalog.step() {}
    answer(ticket).expect("answered").expect(what);
}

#[test]
fn no_failing_call_loses_an_acked_record() {
    let clock = Arc::new(Hands::default());
    let disk = Disk::new(0);
    let done = scenario(&disk, &clock);
    assert!(done.emptied && done.refused.is_empty(), "{:?}", done.refused);
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
        for for_good in [false, true] {
            if for_good && matches!(kind, ErrorKind::Interrupted | ErrorKind::Short) {
                continue;
            }
            for call in 0..calls {
                for power_cut in [None, Some(0), Some(50)] {
                    let what =
                        format!("call {call}, {kind:?}, for good: {for_good}, {power_cut:?}");
                    let clock = Arc::new(Hands::default());
                    let disk = Disk::new(call);
                    disk.fail_after(call, Fault::Error { kind, for_good });
                    let done = scenario(&disk, &clock);
                    if matches!(kind, ErrorKind::Interrupted | ErrorKind::Short) {
                        assert!(done.refused.is_empty(), "{what}: {:?}", done.refused);
                    }
                    disk.restart(power_cut);
                    holds_what_was_acked(&disk, &clock, &done, &what);
                }
            }
        }
    }
}

#[test]
fn a_failed_sync_stops_appends_and_is_never_retried() {
    let clock = Arc::new(Hands::default());
    let disk = Disk::new(0);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let mut done = Done::default();
    append(&catalog, &log, &mut done, How::Loose(None));
    // The first call of a commit on prepared space is its write, the second its
    // sync.
    disk.fail_after(1, Fault::Error { kind: ErrorKind::Io, for_good: false });
    append(&catalog, &log, &mut done, How::Loose(None));
    let before = disk.calls();
    append(&catalog, &log, &mut done, How::Loose(None));
    assert!(matches!(done.refused[0], Error::OutcomeUnknown { .. }), "{:?}", done.refused);
    let Error::NotAvailable { status, cause, .. } = &done.refused[1] else {
        panic!("{:?}", done.refused)
    };
    assert_eq!(*status, LogStatus::Tainted);
    assert!(cause.contains("sync"), "{cause}");
    assert_eq!(disk.calls(), before, "nothing is written or synced any more");
    assert_eq!(read_all(&log).expect("durable records can be read"), done.acked);
}

#[test]
fn appends_resume_when_a_full_disk_has_space_again() {
    let clock = Arc::new(Hands::default());
    let disk = Disk::new(0);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let config = LogConfig { segment_max_count: 5, ..LogConfig::default() };
    let log = catalog.create(&name(), config).expect("created");
    let mut done = Done::default();
    append(&catalog, &log, &mut done, How::Loose(None));
    disk.limit_space(Some(0));
    for _ in 0..600 {
        append(&catalog, &log, &mut done, How::Loose(None));
    }
    let full = done.refused.iter().filter(|error| matches!(error, Error::StorageFull { .. }));
    assert!(full.count() > 400, "{:?}", done.refused.first());
    assert_eq!(done.refused.len() + done.acked.len(), 601);
    assert!(done.statuses.iter().all(|status| *status == LogStatus::Ok));
    assert_eq!(read_all(&log).expect("reads go on"), done.acked);
    disk.limit_space(None);
    let refused = done.refused.len();
    for _ in 0..20 {
        append(&catalog, &log, &mut done, How::Loose(None));
    }
    assert_eq!(done.refused.len(), refused, "appends resume by themselves");
    assert_eq!(read_all(&log).expect("read"), done.acked);
    disk.restart(Some(0));
    drop(catalog);
    holds_what_was_acked(&disk, &clock, &done, "after a full disk");
}

#[test]
fn a_nearly_full_disk_refuses_appends_that_do_not_fit() {
    // A reservation that failed was taken for made: the second large append was
    // written into too little space, stopped in the middle, and ended appends.
    for size in [10_000, 70_000, 200_000] {
        for room in [0, 1, 5_000, 9_999, 69_000, 199_000] {
            let (disk, clock) = (Disk::new(0), Arc::new(Hands::default()));
            let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
            let log = catalog.create(&name(), LogConfig::default()).expect("created");
            let mut done = Done::default();
            append(&catalog, &log, &mut done, How::Loose(None));
            disk.limit_space(Some(disk.used() + room));
            for _ in 0..30 {
                let ticket = log.append(Records::one(&vec![b'x'; size]));
                let ticket = ticket.expect("queued");
                while catalog.step() {}
                match answer(ticket).expect("answered") {
                    Ok(_) | Err(Error::StorageFull { .. }) => {}
                    Err(error) => panic!("{size} bytes with room for {room}: {error}"),
                }
                assert_eq!(log.status(), LogStatus::Ok, "{size} bytes with room for {room}");
            }
            disk.limit_space(None);
            append(&catalog, &log, &mut done, How::Loose(None));
            assert_eq!(done.acked.len(), 2, "appends resume by themselves");
        }
    }
}

/// A repetition in the same group as its original should be acknowledged together with it. If
/// the group fails, the repetition and everything that depends on it must fail too.
/// Acknowledgements of earlier groups stay valid.
#[test]
fn a_repetition_in_a_failed_group_fails_with_it() {
    for kind in [ErrorKind::Io, ErrorKind::NoSpace] {
        let clock = Arc::new(Hands::default());
        let disk = Disk::new(0);
        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let log = catalog.create(&name(), LogConfig::default()).expect("created");
        let queue = |block| log.append(block).expect("queued");
        let durable = queue(block(1, 0, b"durable"));
        while catalog.step() {}
        answer(durable).expect("answered").expect("appended");

        let stream = log.stream();
        // The write, or the sync behind it.
        let call = if kind == ErrorKind::Io { 1 } else { 0 };
        disk.fail_after(call, Fault::Error { kind, for_good: false });
        let again = queue(block(1, 0, b"durable"));
        let failing = [
            queue(block(1, 1, b"new")),
            queue(block(1, 1, b"new")),
            // Refused on the ground of what is to come to nothing.
            queue(block(1, 1, b"other")),
            stream.append(block(1, 9, b"ahead")).expect("queued"),
        ];
        let begun = log.begin_producer(BLOCKS, None).expect("taken");
        while catalog.step() {}
        let repeated = Appended { base: Position(0), end: Position(1), count: 0, repeated: 1 };
        assert_eq!(answer(again).expect("answered").expect("it is durable"), repeated);
        let is_failure = |error: &Error| match kind {
            ErrorKind::NoSpace => matches!(error, Error::StorageFull { .. }),
            _ => matches!(error, Error::OutcomeUnknown { .. }),
        };
        for ticket in failing {
            let failed = answer(ticket).expect("answered").expect_err("the group failed");
            assert!(is_failure(&failed), "{failed}");
        }
        let failed = answer(begun).expect("answered").expect_err("the group failed");
        assert!(is_failure(&failed), "{failed}");
        let failed = stream.append(block(1, 1, b"later")).expect_err("its stream failed");
        assert!(matches!(&failed, AppendError::Refused(error) if is_failure(error)), "{failed}");
        let known = log.producer(BLOCKS).expect("known");
        assert_eq!((known.epoch, known.next_sequence), (1, Some(1)), "nothing of it is known");

        if kind == ErrorKind::NoSpace {
            let new = queue(block(1, 1, b"new"));
            while catalog.step() {}
            let appended = answer(new).expect("answered").expect("there is room again");
            assert_eq!((appended.base, appended.count), (Position(1), 1));
        }
    }
}
