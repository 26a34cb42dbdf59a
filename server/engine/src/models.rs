//! Small models of the hand-offs between threads, for loom. It runs each model with every order
//! of the threads' steps, and fails if a thread waits forever. Not part of the engine's
//! interface.
//!
//! ```text
//! append ─▶ Queue ─▶ committer ─▶ Promise ─▶ Completion   which job runs, who waits for space
//!                         └─────▶ Tail    ─▶ followers    what is published, who is woken
//! ```
//!
//! In the models, a thread that is told to submit a job runs it itself, like the thread pool.
//! Two committers write their groups one at a time, in the order in which they took them.

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
use crate::commit::queue::{Pushed, Queue, Request};
use crate::sync::handoff::lock;
use crate::tail::{DurableEnd, Group, Tail, TailBudget, View};
use crate::wait::{Completion, WakeList, promise};

/// Runs a model in every order with at most 3 preemptions, which is enough to find the errors.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn appended() -> Appended {
    Appended { base: Position(0), end: Position(1), count: 1, repeated: 0 }
}

/// The queue of a log, and how many groups were taken from it and written.
struct ModelLog {
    queue: Queue,
    next_head: Mutex<u32>,
    end: Mutex<u32>,
}

impl ModelLog {
    fn new(queue_bytes_max: usize, second_job_bytes_min: usize) -> Arc<ModelLog> {
        let queue = Queue::new(queue_bytes_max, second_job_bytes_min);
        Arc::new(ModelLog { queue, next_head: Mutex::new(0), end: Mutex::new(0) })
    }

    /// Queues an append once there is space; `None` if it is refused.
    fn append(&self) -> Option<Completion<Appended>> {
        let (promise, answer) = promise();
        let append = Records::one(b"x").into();
        let mut request = Request::Append { append, stream_error: None, promise };
        loop {
            match self.queue.push(request).ok()? {
                Pushed::Full(back) => request = back,
                Pushed::Behind => return Some(answer),
                Pushed::Submit => {
                    self.commit();
                    return Some(answer);
                }
            }
            let mut key = None;
            block_on(std::future::poll_fn(|context| {
                match self.queue.register_space(&mut key, context.waker()) {
                    true => std::task::Poll::Pending,
                    false => std::task::Poll::Ready(()),
                }
            }));
            self.queue.unregister_space(key);
        }
    }

    /// What a committer does until nothing is left.
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
            let mut woken = WakeList::default();
            for request in group {
                if let Request::Append { promise, .. } = request {
                    woken.add(promise.complete_without_waking(Ok(appended())));
                }
            }
            drop(end);
            woken.wake();
        }
    }

    /// Appends and waits until the append is durable.
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

/// One thread commits at a time, and every append is completed, whenever threads append.
pub fn every_append_is_completed() {
    check(|| {
        let log = ModelLog::new(usize::MAX, usize::MAX);
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

/// The same with a second committer whenever something waits.
pub fn two_committers_leave_no_request_behind() {
    check(|| {
        let log = ModelLog::new(usize::MAX, 1);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append_durably());
        log.append_durably();
        thread.join().expect("no panic");
        log.wait_until_idle();
        assert_eq!(log.queue.bytes(), 0, "nothing is left behind");
    });
}

/// With space for a single append, the others wait for space and get it.
pub fn an_append_that_finds_the_queue_full_gets_space() {
    check(|| {
        let log = ModelLog::new(1, usize::MAX);
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

/// A thread that closes a log waits for the queued requests, and is woken when they are
/// committed.
pub fn a_task_that_waits_for_the_committer_is_woken() {
    check(|| {
        let log = ModelLog::new(usize::MAX, usize::MAX);
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

/// A thread waits for a result while it is set, or while its promise is dropped.
pub fn a_result_is_delivered_once_and_wakes_its_waiter() {
    for kept in [true, false] {
        check(move || {
            let (promise, answer) = promise();
            let thread = thread::spawn(move || match kept {
                true => promise.complete(Ok(7)),
                false => drop(promise),
            });
            let got = block_on(answer);
            assert!(if kept { matches!(got, Ok(7)) } else { got.is_err() });
            thread.join().expect("no panic");
        });
    }
}

fn tail() -> Arc<Tail> {
    let view = View { segments: Arc::default(), durable: DurableEnd::default() };
    Arc::new(Tail::new(view, Arc::new(TailBudget::new(usize::MAX)), usize::MAX))
}

/// Publishes one more record.
fn publish(tail: &Tail, base: u64) {
    let header = Header { count: 1, base_position: base, ..Header::default() };
    let (bytes, crc) = header.encode();
    let bytes = bytes::Bytes::copy_from_slice(&bytes);
    let block = Block::vouched(header, crc, bytes.slice(BLOCK_HEADER_BYTES..));
    let group = Group::new(Position(base), bytes, [block]);
    tail.publish(DurableEnd { position: group.end, ..DurableEnd::default() }, group);
}

/// A follower at a position: waits until there is a record, or the log is closed.
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

/// A follower misses no wake-up, and finds the record it was woken for.
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

/// The end that is visible without the lock can be read.
pub fn every_position_below_the_end_can_be_read() {
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

/// A log that is closed wakes its followers, whatever they are doing.
pub fn closing_a_log_wakes_its_followers() {
    check(|| {
        let tail = tail();
        let ending = Arc::clone(&tail);
        let thread = thread::spawn(move || ending.close_with(Error::ShuttingDown));
        follow(&tail, Position(0));
        assert!(tail.live_view().is_err());
        thread.join().expect("no panic");
    });
}
