//! Loom models of the places where threads hand work to each other. Not part of the public API.
//!
//! ```text
//! append ─▶ Queue ─▶ committer ─▶ Promise ─▶ Completion   jobs, waits for queue space
//!                         └─────▶ Tail    ─▶ followers    published records, wake-ups
//! ```
//!
//! Loom runs each model with every order of the threads' steps, and fails if a thread waits
//! forever. The tests in `tests/loom.rs` call the models. The models use the engine's queue, tail
//! and promises, but no files.
//!
//! A thread that must submit a job runs it itself instead of the thread pool. Invariant: two
//! committers write their groups one at a time, in the order in which they took them.

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

/// Runs a model in every order of steps with at most 3 preemptions. That is enough to find the
/// errors.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn appended() -> Appended {
    Appended { base: Position(0), end: Position(1), count: 1, repeated: 0 }
}

/// The queue of a log, and the locks that order its commits.
struct ModelLog {
    queue: Queue,
    /// The number of groups that were taken from the queue.
    next_head: Mutex<u32>,
    /// The number of groups that were written.
    end: Mutex<u32>,
}

impl ModelLog {
    fn new(queue_bytes_max: usize, second_job_bytes_min: usize) -> Arc<ModelLog> {
        let queue = Queue::new(queue_bytes_max, second_job_bytes_min);
        Arc::new(ModelLog { queue, next_head: Mutex::new(0), end: Mutex::new(0) })
    }

    /// Waits for space and queues an append. `None` if the queue refuses it.
    fn append(&self) -> Option<Completion<Appended>> {
        let (promise, answer) = promise();
        let append = Records::one(b"x").into();
        let mut request = Request::Append { append, stream_error: None, promise, queued_at_us: 0 };
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

    /// Does the work of a committer until the queue has no group for it.
    fn commit(&self) {
        loop {
            let mut next_head = lock(&self.next_head);
            let group = self.queue.take(usize::MAX, u64::MAX);
            if group.is_empty() {
                return;
            }
            let mut end = lock(&self.end);
            assert_eq!(*next_head, *end, "groups are written in the order they were taken");
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
        let answer = self.append().expect("the queue refuses no append");
        block_on(answer).expect("durable");
    }

    /// Waits until no job is left. The queue is empty then.
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

/// Two threads append at the same time, and one of them commits at a time. Every append is
/// completed.
pub fn every_append_is_completed() {
    check(|| {
        let log = ModelLog::new(usize::MAX, usize::MAX);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append_durably());
        let answers = [log.append(), log.append()];
        for answer in answers {
            block_on(answer.expect("the queue refuses no append")).expect("durable");
        }
        thread.join().expect("no panic");
        log.wait_until_idle();
    });
}

/// As [`every_append_is_completed`], but a second committer may run whenever the queue is not
/// empty.
pub fn two_committers_leave_no_request_behind() {
    check(|| {
        let log = ModelLog::new(usize::MAX, 1);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append_durably());
        log.append_durably();
        thread.join().expect("no panic");
        log.wait_until_idle();
        assert_eq!(log.queue.bytes(), 0, "the queue is empty");
    });
}

/// The queue has space for one append, and an append that finds it full waits until it gets
/// space.
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

/// A thread that closes a log waits for the queued requests. It is woken when they are committed.
pub fn a_task_that_waits_for_the_committer_is_woken() {
    check(|| {
        let log = ModelLog::new(usize::MAX, usize::MAX);
        let other = Arc::clone(&log);
        let thread = thread::spawn(move || other.append());
        log.queue.refuse(Error::ShuttingDown, false);
        log.wait_until_idle();
        assert_eq!(log.queue.bytes(), 0, "the queue is empty");
        // The append came before the refusal and is durable, or it was refused.
        if let Some(answer) = thread.join().expect("no panic") {
            block_on(answer).expect("durable");
        }
    });
}

/// A thread waits for a result while another thread completes or drops the promise.
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
    Arc::new(Tail::new(view, Arc::new(TailBudget::new(usize::MAX, usize::MAX)), usize::MAX))
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

/// Waits like a follower: until there is a record at the position, or the log is closed.
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

/// A follower misses no wake-up, and finds the record for which it was woken.
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

/// A reader can read every record before the end that it sees without the lock.
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

/// A trim does not move the end back to what it was when the trim began.
pub fn a_trim_leaves_every_commit_readable() {
    check(|| {
        let tail = tail();
        let (committer, trim) = (Arc::clone(&tail), Arc::clone(&tail));
        let commits = thread::spawn(move || publish(&committer, 0));
        let trims = thread::spawn(move || trim.drop_segments_before(Position(0)));
        follow(&tail, Position(0));
        assert_eq!(tail.end(), Position(1), "the end of a log never moves back");
        commits.join().expect("no panic");
        trims.join().expect("no panic");
        assert_eq!((tail.end(), tail.view().durable.position), (Position(1), Position(1)));
    });
}

/// Closing a log wakes its followers, even if they are about to wait.
pub fn closing_a_log_wakes_its_followers() {
    check(|| {
        let tail = tail();
        let closing = Arc::clone(&tail);
        let thread = thread::spawn(move || closing.close_with(Error::ShuttingDown));
        follow(&tail, Position(0));
        assert!(tail.live_view().is_err());
        thread.join().expect("no panic");
    });
}
