//! The queue as a binding uses it: with its descriptor and drains.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::epoll;

use super::descriptor::readable;
use super::{Completion, CompletionQueue, Drained, Outcome};
use crate::process::Process;
use crate::{Error, Kind};

const WAIT: Duration = Duration::from_secs(60);

fn queue(capacity: usize) -> CompletionQueue {
    CompletionQueue::new(capacity).expect("a descriptor")
}

fn is_readable(queue: &CompletionQueue) -> bool {
    readable(queue, Some(Duration::ZERO))
}

/// Drains up to `max`. Returns the tokens and positions, and whether it was woken.
fn drain(queue: &CompletionQueue, max: usize) -> (Vec<(u64, Option<u64>)>, bool) {
    let mut completions = Vec::new();
    let drained = queue.drain(max, &mut completions);
    assert_eq!(drained.completions, completions.len());
    let seen = completions.iter().map(|c| match c.result {
        Ok(Outcome::Position(position)) => (c.token, Some(position)),
        _ => (c.token, None),
    });
    (seen.collect(), drained.woken)
}

fn complete(queue: &CompletionQueue, token: u64, position: u64) {
    let ticket = queue.ticket(token).expect("a place");
    ticket.complete(Ok(Outcome::Position(position)));
}

#[test]
fn descriptor_is_readable_exactly_while_the_queue_has_entries() {
    let queue = queue(10);
    assert!(!is_readable(&queue));
    (0..3).for_each(|token| complete(&queue, token, token + 100));
    assert!(is_readable(&queue) && is_readable(&queue), "level-triggered");
    assert_eq!(drain(&queue, 2), (vec![(0, Some(100)), (1, Some(101))], false));
    assert!(is_readable(&queue), "one is left");
    assert_eq!(drain(&queue, 2), (vec![(2, Some(102))], false));
    assert!(!is_readable(&queue));
    assert_eq!(drain(&queue, 2), (vec![], false));
    complete(&queue, 9, 9);
    assert!(is_readable(&queue), "again");
}

#[test]
fn ticket_keeps_its_place_until_it_is_drained() {
    let queue = queue(2);
    let first = queue.ticket(1).expect("a place");
    let second = queue.ticket(2).expect("a place");
    let full = || queue.ticket(3).map_err(|error| error.kind()).err();
    assert_eq!(full(), Some(Kind::WouldBlock));
    first.complete(Ok(Outcome::Done));
    second.complete(Err(Error::invalid_argument("no")));
    assert_eq!(full(), Some(Kind::WouldBlock), "both wait to be drained");
    assert_eq!(drain(&queue, 1).0, [(1, None)]);
    assert_eq!(full(), None);
}

#[test]
fn dropped_ticket_completes_as_closed() {
    let queue = queue(1);
    drop(queue.ticket(7));
    let mut completions = Vec::new();
    let drained = queue.drain(10, &mut completions);
    assert_eq!(drained, Drained { completions: 1, woken: false });
    let [Completion { token: 7, result: Err(error) }] = &completions[..] else {
        panic!("{completions:?}")
    };
    assert_eq!(error.kind(), Kind::Closed);
    assert!(queue.ticket(8).is_ok(), "the place is free again");
}

#[test]
fn source_has_one_entry_between_two_drains() {
    let queue = queue(0);
    let source = queue.source(5);
    (0..3).for_each(|_| source.ready());
    assert_eq!(drain(&queue, 10).0, [(5, None)]);
    assert!(!is_readable(&queue));
    source.clone().ready();
    source.ready();
    assert_eq!(drain(&queue, 10).0, [(5, None)]);
}

#[test]
fn wakeup_is_reported_once_and_keeps_completions() {
    let queue = queue(1);
    (0..3).for_each(|_| queue.wakeup());
    assert!(is_readable(&queue));
    assert_eq!(drain(&queue, 10), (vec![], true));
    assert!(!is_readable(&queue));
    complete(&queue, 1, 1);
    queue.wakeup();
    assert_eq!(drain(&queue, 0), (vec![], true));
    assert!(is_readable(&queue), "a completion is left");
    assert_eq!(drain(&queue, 10), (vec![(1, Some(1))], false));
    assert!(!is_readable(&queue));
}

#[test]
fn wait_ends_with_a_completion_a_wakeup_or_its_timeout() {
    let queue = queue(1);
    assert!(!queue.wait(Duration::from_millis(1)));
    let other = queue.clone();
    let thread = std::thread::spawn(move || other.wakeup());
    assert!(queue.wait(WAIT));
    thread.join().expect("no panic");
    assert!(queue.drain(1, &mut Vec::new()).woken);
}

/// Several threads complete tickets as fast as they can, while one thread waits for
/// level-triggered epoll and drains. If a completion were left while the descriptor is
/// not readable, the last wait would time out.
#[test]
fn many_threads_and_one_epoll_lose_no_completion() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5000;
    let queue = queue(64);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
    let interest = epoll::EventFlags::IN;
    epoll::add(&epoll, &queue, epoll::EventData::new_u64(1), interest).expect("added");
    let mut seen = vec![0u64; THREADS as usize];
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let queue = queue.clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    let ticket = loop {
                        match queue.ticket(thread) {
                            Ok(ticket) => break ticket,
                            Err(_full) => std::thread::yield_now(),
                        }
                    };
                    ticket.complete(Ok(Outcome::Position(n)));
                }
            });
        }
        while seen.iter().any(|n| *n < EACH) {
            let mut events = Vec::with_capacity(4);
            let wait = rustix::event::Timespec::try_from(WAIT).expect("it fits");
            let spare = rustix::buffer::spare_capacity(&mut events);
            let ready = epoll::wait(&epoll, spare, Some(&wait)).expect("epoll");
            assert!(ready > 0, "nothing came any more at {seen:?}");
            for (token, position) in drain(&queue, 10).0 {
                let next = &mut seen[token as usize];
                assert_eq!(position, Some(*next), "a thread's completions keep their order");
                *next += 1;
            }
        }
    });
    assert!(!is_readable(&queue));
}

/// A wake-up during a drain is reported by that drain, or by the next one, for which the
/// descriptor is readable.
#[test]
fn concurrent_drains_lose_no_wakeup() {
    let queue = queue(1);
    for _ in 0..2000 {
        std::thread::scope(|scope| {
            scope.spawn(|| queue.wakeup());
            let mut woken = false;
            while !woken {
                assert!(queue.wait(WAIT), "the wake-up was lost");
                woken = queue.drain(1, &mut Vec::new()).woken;
            }
        });
        // It causes at most one additional empty drain.
        assert_eq!(drain(&queue, 1), (vec![], false));
        assert!(!is_readable(&queue));
    }
}

/// A queue with a notifier, and how often the notifier was called.
fn notified(capacity: usize) -> (CompletionQueue, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = CompletionQueue::with_notifier(capacity, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (queue, calls)
}

#[test]
fn notifier_is_called_once_between_drains_that_leave_the_queue_empty() {
    let (queue, calls) = notified(10);
    let calls = || calls.load(Ordering::SeqCst);
    assert_eq!(calls(), 0);
    for token in 0..3 {
        complete(&queue, token, token);
    }
    queue.source(5).ready();
    assert_eq!(calls(), 1);
    assert_eq!(drain(&queue, 1).0.len(), 1);
    complete(&queue, 7, 7);
    assert_eq!(calls(), 1, "the queue was not empty");
    assert_eq!(drain(&queue, 10).0.len(), 4);
    complete(&queue, 8, 8);
    assert_eq!(calls(), 2);
    (0..3).for_each(|_| queue.wakeup());
    assert_eq!(calls(), 3, "a wake-up is told too, but several count as one");
    assert_eq!(drain(&queue, 10), (vec![(8, Some(8))], true));
    queue.wakeup();
    assert_eq!(calls(), 4);
}

#[test]
fn notifier_is_called_without_a_lock() {
    let queue: Arc<OnceLock<CompletionQueue>> = Arc::default();
    let drained = Arc::new(AtomicUsize::new(0));
    let (shared, counted) = (Arc::clone(&queue), Arc::clone(&drained));
    let of_notifier = CompletionQueue::with_notifier(10, move || {
        let Some(queue) = shared.get() else { return };
        let drained = queue.drain(10, &mut Vec::new());
        let found = drained.completions + usize::from(drained.woken);
        counted.fetch_add(found, Ordering::SeqCst);
        assert!(!queue.wait(Duration::ZERO));
    });
    let queue = queue.get_or_init(|| of_notifier);
    complete(queue, 1, 1);
    queue.source(2).ready();
    queue.wakeup();
    drop(queue.ticket(3));
    assert_eq!(drained.load(Ordering::SeqCst), 4);
}

#[test]
fn queue_with_a_notifier_can_be_waited_for() {
    let (queue, _calls) = notified(1);
    assert!(!queue.wait(Duration::from_millis(1)));
    let fill: [fn(&CompletionQueue); 2] = [|queue| queue.wakeup(), |queue| complete(queue, 1, 1)];
    for fill in fill {
        std::thread::scope(|scope| {
            scope.spawn(|| fill(&queue));
            assert!(queue.wait(WAIT));
        });
        let (completions, woken) = drain(&queue, 10);
        assert!(woken != (completions.len() == 1));
    }
}

/// The queue as a forked child sees it, while a thread of the parent holds its lock.
#[test]
fn inherited_queue_does_nothing_in_a_forked_child() {
    let mut inherited = queue(10);
    let ticket = inherited.ticket(1).expect("a place");
    let source = inherited.source(2);
    drop((ticket, source));
    let _ = drain(&inherited, 10);
    let shared = Arc::get_mut(&mut inherited.shared).expect("the only owner");
    shared.process = Process::of_a_parent();
    let held = Arc::clone(&inherited.shared);
    let _lock = held.lock();
    let ticket = super::Ticket::new(1, Arc::clone(&inherited.shared));
    let source = inherited.source(2);
    source.ready();
    ticket.complete(Ok(Outcome::Done));
    drop(super::Ticket::new(1, Arc::clone(&inherited.shared)));
    inherited.wakeup();
    assert!(!is_readable(&inherited), "the descriptor belongs to the parent too");
    assert_eq!(inherited.ticket(3).map_err(|error| error.kind()).err(), Some(Kind::Forked));
    assert_eq!(drain(&inherited, 10), (vec![], false));
    assert!(!inherited.wait(WAIT));
}
