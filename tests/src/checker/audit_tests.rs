//! The checker finds every kind of violation: each test breaks one promise in an
//! otherwise correct log, and expects that violation.

use super::*;
use crate::Scratch;
use crate::checker::Ledger;

/// Producer 1 appends 0, 1, 2 one by one; producer 2 a batch of three and one
/// that is never acked; producer 3 is idempotent. A follower saw the first five.
fn notes() -> Notes {
    let scratch = Scratch::new("ledger");
    let ledger = Ledger::create(&scratch.join("ledger"));
    ledger.idempotent("a", 3);
    for sequence in 0..3 {
        ledger.attempt("a", 1, sequence, 1);
        ledger.acked("a", 1, sequence, 1, Some(sequence + 1));
    }
    ledger.attempt("a", 2, 0, 3);
    ledger.acked("a", 2, 0, 3, Some(6));
    ledger.attempt("a", 3, 0, 2);
    ledger.acked("a", 3, 0, 2, Some(8));
    ledger.attempt("a", 2, 3, 2);
    ledger.attempt("a", 3, 2, 1);
    ledger.acked("a", 3, 2, 1, None);
    ledger.attempt("b", 9, 0, 1);
    ledger.seen("a", 0, &records()[..5]);
    ledger.notes().of("a")
}

fn record(producer: u32, sequence: u64) -> Vec<u8> {
    Payload { producer, sequence, length: 30 }.encode()
}

fn records() -> Vec<Vec<u8>> {
    let order = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)];
    order.map(|(producer, sequence)| record(producer, sequence)).to_vec()
}

fn recovered(records: Vec<Vec<u8>>) -> Recovered {
    Recovered { start: 0, end: records.len() as u64, records, may_expire: false }
}

/// Audits the log after `change` was made to it.
#[track_caller]
fn check(change: impl FnOnce(&mut Vec<Vec<u8>>), expected: &[Violation]) {
    let mut records = records();
    change(&mut records);
    let violations = audit(&notes(), &recovered(records));
    for violation in expected {
        assert!(violations.contains(violation), "no {violation:?} in {violations:?}");
    }
    assert_eq!(violations.is_empty(), expected.is_empty(), "{violations:?}");
}

#[test]
fn a_log_that_kept_its_promises_passes() {
    check(|_| {}, &[]);
}

#[test]
fn an_unacked_append_may_be_there_whole() {
    check(|log| log.extend([record(2, 3), record(2, 4)]), &[]);
}

#[test]
fn an_unacked_append_may_not_be_there_in_part() {
    let torn = Violation::Torn { producer: 2, first: 3, count: 2, found: 1 };
    check(|log| log.push(record(2, 3)), &[torn]);
}

#[test]
fn an_append_is_not_split_by_another() {
    let torn = Violation::Torn { producer: 2, first: 3, count: 2, found: 2 };
    let change = |log: &mut Vec<_>| {
        let other = log.pop().expect("a record");
        log.extend([record(2, 3), other, record(2, 4)]);
    };
    check(change, &[torn]);
}

#[test]
fn a_lost_last_record_is_caught() {
    let lost = Violation::Lost { producer: 3, sequence: 2 };
    check(|log| drop(log.pop()), &[lost]);
}

#[test]
fn a_lost_record_with_a_position_is_caught_twice() {
    let lost = Violation::Lost { producer: 3, sequence: 1 };
    let regressed = Violation::Regressed { end: 7, known: 8 };
    check(|log| log.truncate(7), &[lost, regressed]);
}

#[test]
fn a_lost_record_in_the_middle_is_caught_and_what_it_moved() {
    let lost = Violation::Lost { producer: 1, sequence: 1 };
    let moved = Violation::Moved { producer: 1, sequence: 2, acked: 2, found: 1 };
    check(|log| drop(log.remove(1)), &[lost, moved, Violation::Unseen { position: 1 }]);
}

#[test]
fn an_empty_log_is_caught() {
    check(Vec::clear, &[Violation::Regressed { end: 0, known: 8 }]);
}

#[test]
fn a_changed_record_is_caught() {
    let lost = Violation::Lost { producer: 2, sequence: 2 };
    check(|log| log[5][25] ^= 1, &[Violation::Changed { position: 5 }, lost]);
}

#[test]
fn a_record_with_other_filler_and_a_right_checksum_is_caught() {
    let change = |log: &mut Vec<Vec<u8>>| {
        let mut other = log[5].clone();
        other[20..].fill(7);
        let (fields, rest) = other.split_at_mut(16);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(fields);
        hasher.update(&rest[4..]);
        rest[..4].copy_from_slice(&hasher.finalize().to_be_bytes());
        assert!(Payload::decode(&other).is_some());
        log[5] = other;
    };
    check(change, &[Violation::Changed { position: 5 }]);
}

#[test]
fn a_record_that_is_there_twice_is_caught() {
    let twice = Violation::Twice { producer: 1, sequence: 0, first: 0, again: 9 };
    check(|log| log.push(record(1, 0)), &[twice]);
}

#[test]
fn swapped_records_are_caught() {
    let reordered = Violation::Reordered { producer: 1, sequence: 0, position: 1 };
    let moved = Violation::Moved { producer: 1, sequence: 0, acked: 0, found: 1 };
    check(|log| log.swap(0, 1), &[reordered, moved, Violation::Unseen { position: 0 }]);
}

#[test]
fn a_record_that_nobody_sent_is_caught() {
    let change = |log: &mut Vec<_>| log.extend([record(1, 3), record(4, 0), record(2, 5)]);
    let not =
        |position, producer, sequence| Violation::NotAttempted { position, producer, sequence };
    check(change, &[not(9, 1, 3), not(10, 4, 0), not(11, 2, 5)]);
}

#[test]
fn a_record_of_another_log_is_caught() {
    let not = Violation::NotAttempted { position: 9, producer: 9, sequence: 0 };
    check(|log| log.push(record(9, 0)), &[not]);
}

#[test]
fn a_gap_of_an_idempotent_producer_is_caught() {
    let gap = Violation::Gap { producer: 3, missing: 1 };
    check(|log| drop(log.remove(7)), &[gap]);
}

#[test]
fn records_that_were_not_given_back_are_caught() {
    let mut recovered = recovered(records());
    recovered.end += 1;
    let violations = audit(&notes(), &recovered);
    assert_eq!(violations, [Violation::NotDense { positions: 10, records: 9 }]);
}

#[test]
fn a_beginning_that_went_is_caught_unless_it_may_expire() {
    let mut recovered = recovered(records().split_off(4));
    (recovered.start, recovered.end) = (4, 9);
    let violations = audit(&notes(), &recovered);
    assert!(violations.contains(&Violation::Vanished { start: 4 }), "{violations:?}");
    assert!(violations.contains(&Violation::Lost { producer: 1, sequence: 0 }));

    recovered.may_expire = true;
    assert_eq!(audit(&notes(), &recovered), []);
}

#[test]
fn retention_excuses_no_loss_behind_it() {
    let mut recovered = recovered(records().split_off(4));
    recovered.records.pop();
    (recovered.start, recovered.end, recovered.may_expire) = (4, 8, true);
    recovered.records[2][30] ^= 1;
    let violations = audit(&notes(), &recovered);
    assert!(violations.contains(&Violation::Lost { producer: 3, sequence: 0 }), "{violations:?}");
}

#[test]
fn two_followers_that_saw_different_records_are_caught() {
    let scratch = Scratch::new("ledger");
    let ledger = Ledger::create(&scratch.join("ledger"));
    ledger.attempt("a", 1, 0, 1);
    ledger.seen("a", 0, &[record(1, 0)]);
    ledger.seen("a", 0, &[record(1, 1)]);
    let violations = audit(&ledger.notes().of("a"), &recovered(vec![record(1, 0)]));
    assert_eq!(violations, [Violation::Unseen { position: 0 }]);
}

#[test]
fn a_ledger_with_a_cut_last_line_can_be_read() {
    let scratch = Scratch::new("ledger");
    let path = scratch.write("ledger", "attempt a 1 0 1\nacked a 1 0 1 1\nattempt a 1 ");
    let notes = Notes::read(&path).of("a");
    assert_eq!((notes.attempts.len(), notes.acked.len()), (1, 1));
}
