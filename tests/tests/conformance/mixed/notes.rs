//! [`Notes`]: the records that the writers of a log have sent and its follower has seen.
//!
//! A writer that is killed leaves records that may or may not be stored. So each
//! start of a writer is an incarnation, with a number and sequences of its own, and the notes need
//! no list of records: they are as small after an hour as after a minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use styx_tests::checker::Payload;

/// The producer number of the last record of a log.
const LAST: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    incarnations: Mutex<HashMap<u32, Incarnation>>,
}

/// The records of one start of a writer, counted from its first.
#[derive(Debug, Clone, Copy, Default)]
struct Incarnation {
    attempted: u64,
    acked: u64,
    seen: u64,
}

/// The sum of the notes of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) incarnations: usize,
    pub(super) acked: u64,
    pub(super) seen: u64,
}

impl Notes {
    /// A new incarnation.
    pub(super) fn begin(&self) -> u32 {
        let mut all = self.lock();
        let number = u32::try_from(all.len()).expect("fewer incarnations");
        all.insert(number, Incarnation::default());
        number
    }

    /// The next records of an incarnation, with these lengths, which are about to be sent.
    pub(super) fn attempt(&self, incarnation: u32, lengths: &[u32]) -> Vec<Vec<u8>> {
        let mut all = self.lock();
        let notes = all.entry(incarnation).or_default();
        let payload = |(sequence, length): (u64, &u32)| {
            Payload { producer: incarnation, sequence, length: *length }.encode()
        };
        let payloads = (notes.attempted..).zip(lengths).map(payload).collect();
        notes.attempted += lengths.len() as u64;
        payloads
    }

    /// Everything that the incarnation has attempted is acked.
    pub(super) fn acked(&self, incarnation: u32) {
        let mut all = self.lock();
        let notes = all.entry(incarnation).or_default();
        notes.acked = notes.attempted;
    }

    /// The last record of the log.
    pub(super) fn last() -> Vec<u8> {
        Payload { producer: LAST, sequence: 0, length: 0 }.encode()
    }

    /// Notes the record at this position. Returns whether it is the last one of the log.
    ///
    /// # Panics
    /// When it is not the next record of its incarnation: a record before it is lost or out of
    /// order, it is there twice, or no writer has sent it.
    pub(super) fn seen(&self, log: &str, position: u64, record: &[u8]) -> bool {
        let payload = Payload::decode(record);
        let Some(payload) = payload.filter(|payload| payload.encode() == record) else {
            panic!("{log}: the record at {position} was changed");
        };
        if payload.producer == LAST {
            return true;
        }
        let mut all = self.lock();
        let Some(notes) = all.get_mut(&payload.producer) else {
            panic!("{log}: no writer has sent the record at {position}: {payload:?}");
        };
        assert!(
            payload.sequence == notes.seen && notes.seen < notes.attempted,
            "{log}: {payload:?} at {position}, but {notes:?}"
        );
        notes.seen += 1;
        false
    }

    /// The number of records that are acked and that the follower has not seen yet.
    pub(super) fn behind(&self) -> u64 {
        self.lock().values().map(|notes| notes.acked.saturating_sub(notes.seen)).sum()
    }

    /// Checks that nothing that was acked is missing.
    ///
    /// # Panics
    /// When something is.
    pub(super) fn check(&self, log: &str) -> Total {
        let all = self.lock();
        for (incarnation, notes) in all.iter() {
            assert!(notes.acked <= notes.seen, "{log}: lost records of {incarnation}: {notes:?}");
        }
        let sum = |of: fn(&Incarnation) -> u64| all.values().map(of).sum();
        Total { incarnations: all.len(), acked: sum(|n| n.acked), seen: sum(|n| n.seen) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Incarnation>> {
        // A panic of one worker ends the test; the others must not hide it.
        self.incarnations.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Makes what a log has of what was sent.
type Stored<'a> = &'a dyn Fn(&[Vec<u8>]) -> Vec<Vec<u8>>;

#[test]
fn notes_notice_lost_doubled_and_changed_records() {
    let case = |what: &str, records: Stored<'_>| {
        let notes = Notes::default();
        let incarnation = notes.begin();
        let sent = notes.attempt(incarnation, &[0, 10, 20]);
        notes.acked(incarnation);
        let check = || {
            for (position, record) in records(&sent).iter().enumerate() {
                notes.seen("a", position as u64, record);
            }
            notes.check("a")
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        assert_eq!(outcome.is_ok(), what == "nothing", "{what}");
    };
    case("nothing", &|sent| sent.to_vec());
    case("the end is lost", &|sent| sent[..2].to_vec());
    case("one is lost", &|sent| vec![sent[0].clone(), sent[2].clone()]);
    case("one is doubled", &|sent| [sent, &sent[2..]].concat());
    case("one is changed", &|sent| [&sent[..2], &[vec![0; 40]]].concat());
    case("one was not sent", &|sent| {
        let more = Payload { producer: 0, sequence: 3, length: 0 }.encode();
        [sent, &[more]].concat()
    });
}
