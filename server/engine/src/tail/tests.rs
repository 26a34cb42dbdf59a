use bytes::Bytes;
use styx_protocol::block::{Block, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::*;

const BODY_BYTES: usize = 1000;

fn tail(budget: &Arc<TailBudget>) -> Tail {
    let view = View { segments: Arc::default(), durable: DurableEnd::default() };
    Tail::new(view, Arc::clone(budget), 3 * group(0, false).cost())
}

/// A commit of one record at this position.
fn group(base: u64, is_direct: bool) -> Group {
    let header = Header { count: 1, base_position: base, ..Header::default() };
    let (head, crc) = header.encode();
    let mut bytes = head.to_vec();
    bytes.resize(BLOCK_HEADER_BYTES + BODY_BYTES, b'x');
    let bytes = Bytes::from(bytes);
    let block = Block::vouched(header, crc, bytes.slice(BLOCK_HEADER_BYTES..));
    Group { is_direct, ..Group::new(Position(base), bytes, [block]) }
}

fn publish(tail: &Tail, base: u64, is_direct: bool) {
    let group = group(base, is_direct);
    tail.publish(DurableEnd { position: group.end, ..DurableEnd::default() }, group);
}

/// The positions below `end` whose commit is in memory.
fn kept(tail: &Tail, end: u64) -> Vec<u64> {
    (0..end).filter(|n| !tail.cached(Position(*n), 0).is_empty()).collect()
}

/// The positions that one read returns.
fn read(tail: &Tail, from: u64) -> Vec<u64> {
    tail.cached(Position(from), usize::MAX).iter().map(|group| group.base.0).collect()
}

fn budget(direct_groups: usize) -> Arc<TailBudget> {
    Arc::new(TailBudget::new(usize::MAX, direct_groups * group(0, true).cost()))
}

#[test]
fn few_direct_commits_are_kept_if_no_reader_is_behind() {
    let tail = tail(&budget(100));
    let reader = Arc::new(atomic::AtomicU64::new(0));
    tail.add_reader(&reader);
    for n in 0..20 {
        publish(&tail, n, true);
        reader.store(n + 1, Ordering::Relaxed);
    }
    assert_eq!(kept(&tail, 20), (11..20).collect::<Vec<_>>());
}

#[test]
fn direct_commits_stay_for_a_reader_that_falls_behind() {
    let tail = tail(&budget(15));
    let reader = Arc::new(atomic::AtomicU64::new(0));
    tail.add_reader(&reader);
    (0..15).for_each(|n| publish(&tail, n, true));
    assert_eq!(kept(&tail, 15), (0..15).collect::<Vec<_>>());
    reader.store(4, Ordering::Relaxed);
    publish(&tail, 15, true);
    assert_eq!(kept(&tail, 16), (4..16).collect::<Vec<_>>());
    (16..20).for_each(|n| publish(&tail, n, true));
    assert_eq!(kept(&tail, 20), (5..20).collect::<Vec<_>>(), "the budget is used");
    publish(&tail, 20, true);
    assert_eq!(kept(&tail, 21), (12..21).collect::<Vec<_>>(), "it reads the file from now on");
}

#[test]
fn reader_that_was_dropped_needs_nothing() {
    let tail = tail(&budget(15));
    let reader = Arc::new(atomic::AtomicU64::new(0));
    tail.add_reader(&reader);
    (0..12).for_each(|n| publish(&tail, n, true));
    drop(reader);
    publish(&tail, 12, true);
    assert_eq!(kept(&tail, 13), (4..13).collect::<Vec<_>>());
}

#[test]
fn oldest_direct_commit_of_all_logs_is_evicted_first() {
    let budget = budget(4);
    let (first, second) = (tail(&budget), tail(&budget));
    for n in 0..3 {
        publish(&first, n, true);
        publish(&second, n, true);
    }
    assert_eq!((kept(&first, 3), kept(&second, 3)), (vec![1, 2], vec![1, 2]));
    (3..6).for_each(|n| publish(&first, n, true));
    assert_eq!((kept(&first, 6), kept(&second, 3)), (vec![3, 4, 5], vec![2]));
}

#[test]
fn small_commits_evict_no_direct_ones() {
    let tail = tail(&budget(4));
    publish(&tail, 0, true);
    publish(&tail, 1, true);
    (2..8).for_each(|n| publish(&tail, n, false));
    publish(&tail, 8, true);
    assert_eq!(kept(&tail, 9), [0, 1, 5, 6, 7, 8]);
    assert_eq!(read(&tail, 0), [0, 1], "2 is not in memory");
    assert_eq!(read(&tail, 6), [6, 7, 8], "a read goes from one kind to the other");
    assert!(read(&tail, 4).is_empty());
}

#[test]
fn read_stops_at_its_limit() {
    let tail = tail(&budget(4));
    (0..3).for_each(|n| publish(&tail, n, n > 0));
    let bytes = BLOCK_HEADER_BYTES + BODY_BYTES;
    let count = |bytes_max| tail.cached(Position(0), bytes_max).len();
    assert_eq!([0, bytes, 2 * bytes, 3 * bytes - 1, 3 * bytes].map(count), [1, 1, 2, 2, 3]);
}

#[test]
fn memory_of_removed_and_closed_logs_is_free_again() {
    let budget = budget(4);
    let (first, second) = (tail(&budget), tail(&budget));
    (0..4).for_each(|n| publish(&first, n, true));
    first.close_with(Error::ShuttingDown);
    assert!(kept(&first, 4).is_empty());
    (0..4).for_each(|n| publish(&second, n, true));
    assert_eq!(kept(&second, 4), [0, 1, 2, 3]);
    drop(second);
    let third = tail(&budget);
    (0..4).for_each(|n| publish(&third, n, true));
    assert_eq!(kept(&third, 4), [0, 1, 2, 3]);
}

#[test]
fn commit_larger_than_the_budget_is_not_kept() {
    let tail = tail(&Arc::new(TailBudget::new(usize::MAX, BODY_BYTES)));
    publish(&tail, 0, true);
    assert!(kept(&tail, 1).is_empty());
    assert_eq!(tail.end(), Position(1));
}
