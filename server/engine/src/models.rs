//! Small models of the hand-offs between threads, for loom: it runs each with every
//! order in which the threads can take their steps, and fails when one of them
//! waits forever. Not part of the engine's interface.
//!
//! ```text
//! append ─▶ Queue ─▶ committer ─▶ Promise ─▶ Answer     who is busy, who waits for room
//!                         └─────▶ Tail    ─▶ followers  what is published, who is woken
//! ```
//!
//! A committer is whoever is told to submit a job, as the pool would have it; the
//! groups of two of them are written one at a time, as they were taken.

use std::sync::Arc;

use loom::future::block_on;
use loom::model::Builder;
use loom::sync::Mutex;
use loom::thread;
use styx_protocol::block::{Block, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{Position, Records};

use crate::Error;
use crate::append::Appended;
use crate::commit::queue::{Item, Pushed, Queue};
use crate::sync::lock;
use crate::tail::{Budget, Durable, Group, Tail, View};
use crate::wait::{Answer, Woken, promise};

/// Runs a model in every order with at most so many preemptions, which finds what
/// is to be found.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn appended() -> Appended {
    Appended { base: Position(0), end: Position(1), count: 1, repeated: 0 }
}

/// The queue of a log, and how many groups were taken from it and written.
struct Log {
    queue: Queue,
    next_head: Mutex<u32>,
    end: Mutex<u32>,
}

impl Log {
    fn new(queue_bytes_max: usize, second_job_from: usize) -> Arc<Log> {
        let queue = Queue::new(queue_bytes_max, second_job_from);
        Arc::new(Log { queue, next_head: Mutex::new(0), end: Mutex::new(0) })
    }

    /// Queues an append once there is room; `None` when it is refused.
    fn append(&self) -> Option<Answer<Appended>> {
        let (promise, answer) = promise();
        let append = Records::one(b"x").into();
        let mut item = Item::Append { append, stream_error: None, promise };
        loop {
            match self.queue.push(item).ok()? {
                Pushed::Full(back) => item = back,
                Pushed::Behind => return Some(answer),
                Pushed::Submit => {
                    self.commit();
                    return Some(answer);
                }
            }
            let mut key = None;
            block_on(std::future::poll_fn(|context| {
                match self.queue.register_room(&mut key, context.waker()) {
                    true => std::task::Poll::Pending,
                    false => std::task::Poll::Ready(()),
                }
            }));
            self.queue.unregister_room(key);
        }
    }

    /// What a committer does until there is nothing left.
    fn commit(&self) {
        loop {
            let mut next_head = lock(&self.next_head);
            let group = self.queue.take(usize::MAX, u64::MAX);
            if group.is_empty() {
                return;
            }
            let mut end = lock(&self.end);
            assert_eq!(*next_head, *end, "it is written after the one taken before it");
            *next_head += 1;
            drop(next_head);
            *end += 1;
            let mut woken = Woken::default();
            for item in group {
                if let Item::Append { promise, .. } = item {
                    woken.add(promise.keep_quietly(Ok(appended())));
                }
            }
            drop(end);
            woken.wake();
        }
    }

    /// Appends and waits until it is durable.
    fn append_durably(&self) {
        let answer = self.append().expect("nothing is refused");
        block_on(answer).expect("durable");
    }

    fn wait_until_idle(&self) {
        let mut key = None;
        block_on(std::future::poll_fn(|context| {
            match self.queue.register_idle(&mut key, context.waker()) {
                true => std::task::Poll::Pending,
                false => std::task::Poll::Ready(()),
            }
        }));
    }
}

/// Whoever appends, whenever: one thread commits at a time, and every append is
/// answered.
pub fn every_append_is_answered() {
    check(|| {
        let log = Log::new(usize::MAX, usize::MAX);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append_durably());
        let answers = [log.append(), log.append()];
        for answer in answers {
            block_on(answer.expect("nothing is refused")).expect("durable");
        }
        thread.join().expect("no panic");
        log.wait_until_idle();
    });
}

/// The same when a second committer comes to help whenever something waits.
pub fn two_committers_leave_nothing_behind() {
    check(|| {
        let log = Log::new(usize::MAX, 1);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append_durably());
        log.append_durably();
        thread.join().expect("no panic");
        log.wait_until_idle();
        assert_eq!(log.queue.bytes(), 0, "nothing is left behind");
    });
}

/// With room for one append alone, the others wait for it and get it.
pub fn who_finds_the_queue_full_gets_its_turn() {
    check(|| {
        let log = Log::new(1, usize::MAX);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let log = Arc::clone(&log);
                thread::spawn(move || log.append_durably())
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(log.queue.bytes(), 0);
    });
}

/// Who closes a log waits for what is queued, and is woken when that is done.
pub fn who_waits_for_the_committer_is_woken() {
    check(|| {
        let log = Log::new(usize::MAX, usize::MAX);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append());
        log.queue.refuse(Error::ShuttingDown, false);
        log.wait_until_idle();
        assert_eq!(log.queue.bytes(), 0, "nothing is left behind");
        // Taken before the refusal, or refused.
        if let Some(answer) = thread.join().expect("no panic") {
            block_on(answer).expect("durable");
        }
    });
}

/// An answer is waited for while it is given, or while it is dropped ungiven.
pub fn an_answer_comes_once_and_wakes_who_waits() {
    for kept in [true, false] {
        check(move || {
            let (promise, answer) = promise();
            let thread = thread::spawn(move || match kept {
                true => promise.keep(Ok(7)),
                false => drop(promise),
            });
            let got = block_on(answer);
            assert!(if kept { matches!(got, Ok(7)) } else { got.is_err() });
            thread.join().expect("no panic");
        });
    }
}

fn tail() -> Arc<Tail> {
    let view = View { segments: Arc::default(), durable: Durable::default() };
    Arc::new(Tail::new(view, Arc::new(Budget::new(usize::MAX)), usize::MAX))
}

/// Publishes one more record.
fn publish(tail: &Tail, base: u64) {
    let header = Header { count: 1, base_position: base, ..Header::default() };
    let (bytes, crc) = header.encode();
    let bytes = bytes::Bytes::copy_from_slice(&bytes);
    let block = Block::vouched(header, crc, bytes.slice(BLOCK_HEADER_BYTES..));
    let group = Group::new(Position(base), bytes, [block]);
    tail.publish(Durable { position: group.end, ..Durable::default() }, group);
}

/// A follower at a position: waits until there is something, or the log has ended.
fn follow(tail: &Tail, position: Position) {
    let mut key = None;
    block_on(std::future::poll_fn(|context| {
        match tail.register(position, &mut key, context.waker()) {
            true => std::task::Poll::Pending,
            false => std::task::Poll::Ready(()),
        }
    }));
    tail.unregister(key);
}

/// A follower misses no wake-up, and finds what it was woken for.
pub fn a_follower_sees_every_commit() {
    check(|| {
        let tail = tail();
        let committer = Arc::clone(&tail);
        let thread = thread::spawn(move || {
            publish(&committer, 0);
            publish(&committer, 1);
        });
        for position in [Position(0), Position(1)] {
            follow(&tail, position);
            assert!(tail.end() > position);
            let found = tail.cached(position, usize::MAX);
            assert_eq!(found.first().map(|group| group.base), Some(position));
        }
        thread.join().expect("no panic");
    });
}

/// What can be seen of the end without the lock can be read.
pub fn an_end_that_is_seen_can_be_read() {
    check(|| {
        let tail = tail();
        let committer = Arc::clone(&tail);
        let thread = thread::spawn(move || publish(&committer, 0));
        let end = tail.end();
        assert!(tail.view().durable.position >= end);
        assert!(end == Position(0) || !tail.cached(Position(0), usize::MAX).is_empty());
        thread.join().expect("no panic");
    });
}

/// A log that ends wakes its followers, whatever they are doing.
pub fn a_log_that_ends_wakes_its_followers() {
    check(|| {
        let tail = tail();
        let ending = Arc::clone(&tail);
        let thread = thread::spawn(move || ending.end_with(Error::ShuttingDown));
        follow(&tail, Position(0));
        assert!(tail.live_view().is_err());
        thread.join().expect("no panic");
    });
}
