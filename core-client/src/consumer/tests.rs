//! A consumer's descriptor, its source and `Handle::wait` tell exactly whether a call would
//! wait, after every sequence of calls.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use styx_protocol::block::{self, Codec, Header, Origin};
use styx_protocol::frame::Ends;
use styx_protocol::record;

use super::batch_queue::OpenedRead;
use super::*;
use crate::batch::Assembler;
use crate::completion::{CompletionQueue, Outcome, readable};
use crate::error::Kind;
use crate::process::Process;

const LOG: LogId = LogId(7);
const PATIENCE: Duration = Duration::from_secs(60);

/// Records at these positions, in one batch.
fn batch(first: u64, count: u64) -> RecordBatch {
    let mut records = record::Builder::new();
    (0..count).for_each(|_| assert!(records.push(b"a record"), "it fits"));
    let sent = block::build_with(Codec::None, None, &records.take(), Origin::default());
    let (header, _) = Header::decode(&sent).expect("a block");
    let header = Header { base_position: first, ..header };
    let stored = Bytes::from([&header.encode().0[..], &sent[96..]].concat());
    let mut assembler = Assembler::new(LOG, first, u64::MAX);
    assembler.take(stored).expect("a good block");
    assembler.finish().next().expect("a batch")
}

/// A consumer without a task: the test has the sender. No server exists at its address.
fn consumer(client: &Client) -> (Consumer, BatchSender) {
    let builder = client.consumer("orders").follow(true);
    let (options, policy) = builder.parts().expect("good options");
    let queue = Arc::new(BatchQueue::new(BUFFER_BYTES, client.runtime().process()));
    client.runtime().bell().add(&queue);
    let sender = queue.replace_sender(None);
    sender.set_opened(OpenedRead { log: LOG, position: 0 });
    let client = client.clone();
    let consumer = Consumer {
        client,
        options,
        policy,
        queue,
        task: None,
        log: LOG,
        current: None,
        cursor: None,
    };
    (consumer, sender)
}

fn client() -> Client {
    Client::builder("styx://localhost:1").build().expect("good options")
}

/// A call of the test, or an event.
#[derive(Debug, Clone)]
enum Step {
    /// A batch of this many records arrives.
    Push(u64),
    /// The read ends.
    Finish(bool),
    TryNextBatch,
    NextBatch,
    Poll,
    NextRecord,
    /// Gives back this many of the records that were returned last.
    GiveBack(u64),
    /// A seek to this position begins.
    Seek(u64),
    /// The server accepts the read.
    Open,
    Wakeup,
    CloseByHandle,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5u64).prop_map(Step::Push),
        1 => any::<bool>().prop_map(Step::Finish),
        4 => Just(Step::TryNextBatch),
        2 => Just(Step::NextBatch),
        2 => Just(Step::Poll),
        6 => Just(Step::NextRecord),
        4 => (1..5u64).prop_map(Step::GiveBack),
        1 => (0..50u64).prop_map(Step::Seek),
        2 => Just(Step::Open),
        2 => Just(Step::Wakeup),
        1 => Just(Step::CloseByHandle),
        1 => Just(Step::Close),
    ]
}

/// The records that the consumer has to return, in the simplest form.
#[derive(Debug, Default)]
struct Model {
    /// Positions of the records that wait, and whether each begins a batch.
    waiting: VecDeque<u64>,
    position: u64,
    is_open: bool,
    is_closed: bool,
    has_ended: bool,
    is_woken: bool,
    next_pushed: u64,
}

impl Model {
    fn is_readable(&self) -> bool {
        !self.waiting.is_empty() || self.has_ended || self.is_woken
    }

    fn takes(&mut self, records: std::ops::Range<u64>) {
        assert!(!records.is_empty());
        for record in records {
            assert_eq!(self.waiting.pop_front(), Some(record), "in order, each once");
            self.position = record + 1;
        }
    }

    /// A call returned no record.
    fn takes_nothing(&mut self, has_ended: bool) {
        assert!(self.waiting.is_empty());
        assert_eq!(has_ended, self.has_ended);
        if !has_ended {
            self.is_woken = false;
        }
    }
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs one step on the consumer and on the model.
fn run(step: &Step, consumer: &mut Consumer, sender: &mut BatchSender, model: &mut Model) {
    match *step {
        Step::Push(count) => {
            if model.is_open && !model.has_ended {
                sender.push(batch(model.next_pushed, count));
                model.waiting.extend(model.next_pushed..model.next_pushed + count);
                model.next_pushed += count;
            }
        }
        Step::Finish(is_error) => {
            let outcome = if is_error { Err(Error::bad_answer("no")) } else { Ok(()) };
            if model.is_open || is_error {
                sender.finish(outcome);
                model.has_ended = true;
            }
        }
        Step::TryNextBatch => took(consumer.try_next_batch(), model),
        Step::Poll => match poll_once(consumer.poll()) {
            Poll::Ready(polled) => took(polled, model),
            Poll::Pending => assert!(!model.is_readable()),
        },
        Step::NextBatch => match poll_once(consumer.next_batch()) {
            Poll::Ready(Ok(Some(batch))) => model.takes(range(&batch)),
            Poll::Ready(Ok(None) | Err(_)) => model.takes_nothing(true),
            Poll::Pending => model.takes_nothing(false),
        },
        Step::NextRecord => match poll_once(consumer.next_record()) {
            Poll::Ready(Ok(Some(record))) => {
                model.takes(record.position()..record.position() + 1);
            }
            Poll::Ready(Ok(None) | Err(_)) => model.takes_nothing(true),
            Poll::Pending => model.takes_nothing(false),
        },
        Step::GiveBack(count) => {
            let count = count.min(model.position);
            if count == 0 {
                return;
            }
            let rest = batch(model.position - count, count);
            let given_back = consumer.give_back(rest);
            assert_eq!(given_back.is_ok(), model.is_open && !model.is_closed, "{given_back:?}");
            if given_back.is_ok() {
                for record in (model.position - count..model.position).rev() {
                    model.waiting.push_front(record);
                }
                model.position -= count;
            }
        }
        Step::Seek(position) => {
            *sender = consumer.start_over(None);
            let Model { position: before, is_woken, is_closed, .. } = *model;
            // A closed consumer stays closed.
            let has_ended = is_closed;
            *model = Model { position: before, is_woken, is_closed, has_ended, ..Model::default() };
            model.next_pushed = position;
        }
        Step::Open => {
            if !model.has_ended && !model.is_open {
                sender.set_opened(OpenedRead { log: LOG, position: model.next_pushed });
                (model.is_open, model.position) = (true, model.next_pushed);
            }
        }
        Step::Wakeup => {
            consumer.handle().wakeup();
            model.is_woken = true;
        }
        Step::CloseByHandle => {
            consumer.handle().close();
            // The batch that `next_record` has begun is still returned.
            let kept = consumer.rest_of_current().map_or(0, |rest| rest.len());
            model.waiting.truncate(kept);
            (model.is_closed, model.has_ended, model.is_open) = (true, true, false);
        }
        Step::Close => {
            assert!(poll_once(consumer.close()).is_ready(), "it has no task");
            model.waiting.clear();
            (model.is_closed, model.has_ended, model.is_open) = (true, true, false);
        }
    }
}

fn range(batch: &RecordBatch) -> std::ops::Range<u64> {
    batch.first_position()..batch.next_position()
}

fn took(polled: Result<Polled, Error>, model: &mut Model) {
    match polled {
        Ok(Polled::Batch(batch)) => model.takes(range(&batch)),
        Ok(Polled::Nothing) => model.takes_nothing(false),
        Ok(Polled::End) | Err(_) => model.takes_nothing(true),
    }
}

/// Checks everything that others see of the consumer.
fn check(consumer: &Consumer, model: &Model) {
    let expected = model.is_readable();
    let descriptor = consumer.descriptor().expect("a descriptor");
    assert_eq!(readable(&descriptor, Some(Duration::ZERO)), expected, "descriptor: {model:?}");
    let handle = consumer.handle();
    assert_eq!(handle.wait(Duration::ZERO), expected, "wait: {model:?}");
    assert_eq!(handle.position(), model.position);
    assert_eq!(consumer.position(), model.position);
    assert_eq!(handle.lag(), 100u64.saturating_sub(model.position));
    assert_eq!(handle.caught_up(), model.position >= 100 && model.waiting.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn readable_means_that_a_call_would_not_wait(
        steps in proptest::collection::vec(step(), 1..60),
        descriptor_first in any::<bool>(),
    ) {
        let client = client();
        let (mut consumer, mut sender) = consumer(&client);
        sender.set_ends(Ends { start: Position(0), end: Position(100) });
        let mut model = Model { is_open: true, ..Model::default() };
        let queue = CompletionQueue::new(0).expect("a descriptor");
        if descriptor_first {
            consumer.descriptor().expect("a descriptor");
        }
        consumer.notify(queue.source(1));
        for step in &steps {
            let was_readable = model.is_readable();
            let _ = queue.drain(1, &mut Vec::new());
            run(step, &mut consumer, &mut sender, &mut model);
            if descriptor_first {
                check(&consumer, &model);
            }
            if !was_readable && model.is_readable() {
                assert!(queue.wait(PATIENCE), "the source was not told of {step:?}");
            }
        }
        check(&consumer, &model);
    }
}

/// The records that were given back could not be seen by a host that waited for the
/// descriptor: it slept on records that it had.
#[test]
fn records_that_were_given_back_notify_descriptor_source_and_handle() {
    let client = client();
    let (mut consumer, sender) = consumer(&client);
    let queue = CompletionQueue::new(0).expect("a descriptor");
    consumer.notify(queue.source(1));
    sender.push(batch(0, 3));
    let Ok(Polled::Batch(taken)) = consumer.try_next_batch() else { panic!("a batch") };
    let _ = queue.drain(10, &mut Vec::new());
    let handle = consumer.handle();
    assert!(!handle.wait(Duration::ZERO));
    let waiting = std::thread::spawn(move || handle.wait(PATIENCE));
    consumer.give_back(taken.slice(1..3)).expect("the last ones");
    assert!(waiting.join().expect("no panic"));
    assert!(readable(&consumer.descriptor().expect("a descriptor"), Some(Duration::ZERO)));
    assert_eq!(queue.drain(10, &mut Vec::new()).completions, 1);
    // The rest of a batch that was taken one by one counts too.
    assert!(matches!(poll_once(consumer.next_record()), Poll::Ready(Ok(Some(_)))));
    assert!(readable(&consumer.descriptor().expect("a descriptor"), Some(Duration::ZERO)));
    assert!(matches!(poll_once(consumer.next_record()), Poll::Ready(Ok(Some(_)))));
    assert!(!readable(&consumer.descriptor().expect("a descriptor"), Some(Duration::ZERO)));
}

#[test]
fn records_that_are_not_the_last_ones_cannot_be_given_back() {
    let client = client();
    let (mut consumer, mut sender) = consumer(&client);
    sender.push(batch(0, 5));
    assert!(matches!(poll_once(consumer.next_record()), Poll::Ready(Ok(Some(_)))));
    let kind = |result: Result<(), Error>| result.expect_err("refused").kind();
    assert_eq!(kind(consumer.give_back(batch(1, 1))), Kind::InvalidArgument);
    assert!(matches!(poll_once(consumer.next_record()), Poll::Ready(Ok(Some(_)))), "unchanged");
    consumer.give_back(batch(0, 2)).expect("the last ones");
    for expected in [0..2, 2..5] {
        let Ok(Polled::Batch(taken)) = consumer.try_next_batch() else { panic!("a batch") };
        assert_eq!(range(&taken), expected);
    }
    sender = consumer.start_over(None);
    assert_eq!(kind(consumer.give_back(batch(3, 2))), Kind::InvalidArgument, "before the seek");
    sender.set_opened(OpenedRead { log: LOG, position: 5 });
    consumer.handle().close();
    assert_eq!(kind(consumer.give_back(batch(3, 2))), Kind::Closed);
}

/// A thread of the parent held the lock during the fork, and does not exist in the child.
#[test]
fn consumer_in_a_forked_child_never_waits() {
    let client = client();
    let (mut consumer, sender) = consumer(&client);
    let held = Arc::clone(&consumer.queue);
    let queue = BatchQueue::new(BUFFER_BYTES, Process::of_a_parent());
    consumer.queue = Arc::new(queue);
    let inherited = Arc::clone(&consumer.queue);
    let _lock = inherited.hold();
    let handle = consumer.handle();
    handle.wakeup();
    handle.close();
    assert!(handle.wait(PATIENCE), "calls fail at once");
    assert_eq!((handle.position(), handle.lag(), handle.caught_up()), (0, 0, false));
    assert_eq!(consumer.try_next_batch().map(drop).expect_err("forked").kind(), Kind::Forked);
    let polled = poll_once(consumer.next_batch());
    assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == Kind::Forked));
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let queue = CompletionQueue::with_notifier(1, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    consumer.notify(queue.source(1));
    assert_eq!(told.load(Ordering::SeqCst), 1, "a call fails at once");
    assert!(consumer.descriptor().is_err());
    drop(consumer);
    drop((sender, held));
}

#[test]
fn seek_completes_its_ticket_and_tells_the_source() {
    let client = client();
    let (mut consumer, _sender) = consumer(&client);
    let queue = CompletionQueue::new(8).expect("a descriptor");
    consumer.notify(queue.source(1));
    let ticket = |token| Some(queue.ticket(token).expect("a place"));
    let told = || {
        let mut completions = Vec::new();
        let _ = queue.drain(10, &mut completions);
        let results = completions.into_iter();
        let results = results.map(|c| (c.token, c.result.map_err(|error| error.kind())));
        results.collect::<Vec<_>>()
    };
    // It succeeds at the end of the log, where there is no record.
    let sender = consumer.start_over(ticket(2));
    assert_eq!(told(), []);
    sender.set_opened(OpenedRead { log: LOG, position: 9 });
    assert_eq!(told(), [(2, Ok(Outcome::Done)), (1, Ok(Outcome::Ready))]);
    assert_eq!(consumer.handle().position(), 9);
    // It fails.
    let sender = consumer.start_over(ticket(3));
    sender.finish(Err(Error::bad_answer("no")));
    assert_eq!(told(), [(3, Err(Kind::BadAnswer)), (1, Ok(Outcome::Ready))]);
    assert_eq!(consumer.position(), 9, "it stays where it was");
    // It cannot begin.
    consumer.seek_to(Start::Position(u64::MAX), queue.ticket(6).expect("a place"));
    assert_eq!(told(), [(6, Err(Kind::InvalidArgument)), (1, Ok(Outcome::Ready))]);
    // Another one replaces it, and the consumer is closed.
    let _sender = consumer.start_over(ticket(4));
    let _sender = consumer.start_over(ticket(5));
    consumer.handle().close();
    assert_eq!(told(), [(4, Err(Kind::Closed)), (5, Err(Kind::Closed)), (1, Ok(Outcome::Ready))]);
    // The consumer stays closed.
    consumer.seek_to(Start::Position(0), queue.ticket(7).expect("a place"));
    assert_eq!(told(), [(7, Err(Kind::Closed)), (1, Ok(Outcome::Ready))]);
}

/// A notifier may call anything that does not wait, because no lock is held.
#[test]
fn notifier_is_called_without_the_lock_of_the_consumer() {
    let client = client();
    let (mut consumer, sender) = consumer(&client);
    let handle = consumer.handle();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = CompletionQueue::with_notifier(8, move || {
        let _ = (handle.lag(), handle.caught_up(), handle.wait(Duration::ZERO));
        counted.fetch_add(1, Ordering::SeqCst);
    });
    consumer.notify(queue.source(1));
    let empty = || {
        let _ = queue.drain(10, &mut Vec::new());
    };
    sender.push(batch(0, 3));
    empty();
    let Ok(Polled::Batch(taken)) = consumer.try_next_batch() else { panic!("a batch") };
    consumer.give_back(taken).expect("the last ones");
    empty();
    let opening = consumer.start_over(queue.ticket(2).ok());
    opening.set_opened(OpenedRead { log: LOG, position: 0 });
    empty();
    consumer.handle().wakeup();
    assert!(queue.wait(PATIENCE), "the client's thread tells it");
    empty();
    consumer.handle().close();
    // The call for the wake-up may come after the end of the wait for it.
    let start = std::time::Instant::now();
    while calls.load(Ordering::SeqCst) < 5 {
        assert!(start.elapsed() < PATIENCE, "it was called {calls:?} times");
        std::thread::yield_now();
    }
}
