//! The queue in front of a log: bounded in bytes, drained whole.
//!
//! Invariant: while anything waits, a job for this log is with the pool, so nothing
//! waits forever. A second one comes to its help when much waits, and goes when
//! that is over, never the last one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use styx_protocol::limits::BLOCK_HEADER_BYTES;

use crate::Error;
use crate::append::{Append, Appended, ProducerState, StreamError};
use crate::sync::{Mutex, lock};
use crate::wait::{Promise, Wakers};

/// One request that waits for its group.
#[derive(Debug)]
pub(crate) enum Item {
    /// Records to append.
    Append {
        append: Append,
        /// Of the stream in which it stands.
        stream_error: Option<Arc<StreamError>>,
        promise: Promise<Appended>,
    },
    /// A producer begins: what it queued before is settled first.
    Begin { producer: u64, epoch: Option<u32>, promise: Promise<ProducerState> },
    /// A producer is to be forgotten, after what it queued before.
    Forget { producer: u64 },
}

impl Item {
    /// Bytes of records, as they will be stored.
    pub(crate) fn len_bytes(&self) -> usize {
        match self {
            Item::Append { append, .. } => append.len_bytes(),
            Item::Begin { .. } | Item::Forget { .. } => 0,
        }
    }

    /// Bytes that it takes in a group, at most.
    pub(crate) fn block_bytes(&self) -> usize {
        BLOCK_HEADER_BYTES + self.len_bytes()
    }

    /// Records.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Item::Append { append, .. } => append.count(),
            Item::Begin { .. } | Item::Forget { .. } => 0,
        }
    }

    /// Answers that it came to nothing, or that nobody knows.
    pub(crate) fn fail(self, error: &Error) {
        match self {
            Item::Append { stream_error, promise, .. } => {
                if let Some(stream_error) = stream_error {
                    stream_error.set(error);
                }
                promise.keep(Err(error.clone()));
            }
            Item::Begin { promise, .. } => promise.keep(Err(error.clone())),
            Item::Forget { .. } => {}
        }
    }

    fn cost(&self) -> usize {
        ITEM_BYTES + self.len_bytes()
    }
}

/// What each item costs beside its bytes.
const ITEM_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
    /// Bytes that are worth a second job.
    second_job_from: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// The largest that was turned away since something was taken.
    wanted: usize,
    /// With the pool: none, one, or two.
    jobs: usize,
    refusal: Option<Error>,
    room: Wakers,
    idle: Wakers,
}

/// What [`Queue::push`] did.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Queued; a job is to be submitted.
    Submit,
    /// Queued behind others, whose job will come to it.
    Behind,
    /// Not queued.
    Full(Item),
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, second_job_from: usize) -> Queue {
        Queue { state: Mutex::default(), bytes_max, second_job_from }
    }

    /// Queues a request. An append has to wait while the queue is full, but a
    /// queue with nothing in it takes any; what comes at most once a connection
    /// is always taken.
    ///
    /// # Errors
    /// Why the log takes no appends.
    pub(crate) fn push(&self, item: Item) -> Result<Pushed, Error> {
        let cost = item.cost();
        let mut state = lock(&self.state);
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let waits = matches!(item, Item::Append { .. });
        if waits && state.bytes > 0 && state.bytes + cost > self.bytes_max {
            state.wanted = state.wanted.max(cost);
            return Ok(Pushed::Full(item));
        }
        state.bytes += cost;
        state.items.push_back(item);
        let jobs = if state.bytes < self.second_job_from { 1 } else { 2 };
        if state.jobs >= jobs {
            return Ok(Pushed::Behind);
        }
        state.jobs += 1;
        Ok(Pushed::Submit)
    }

    /// Takes the next group: the first item and what follows it within the
    /// bounds. Nothing means that the job is over: nothing is left, or so little
    /// that it is left to the other one.
    pub(crate) fn take(&self, bytes_max: usize, records_max: u64) -> Vec<Item> {
        let mut group = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        let (room, idle) = {
            let mut state = lock(&self.state);
            let is_others = state.jobs > 1 && state.bytes < self.second_job_from;
            while let Some(item) = state.items.front().filter(|_| !is_others) {
                bytes += item.block_bytes();
                records += u64::from(item.count());
                if !group.is_empty() && (bytes > bytes_max || records > records_max) {
                    break;
                }
                group.extend(state.items.pop_front());
            }
            state.bytes -= group.iter().map(Item::cost).sum::<usize>();
            state.wanted = 0;
            let idle = if group.is_empty() {
                state.jobs -= 1;
                match state.jobs {
                    0 => state.idle.drain(),
                    _ => Vec::new(),
                }
            } else {
                Vec::new()
            };
            (state.room.drain(), idle)
        };
        room.into_iter().chain(idle).for_each(Waker::wake);
        group
    }

    /// From now on every append is refused with this; what waits stays. The
    /// first refusal stays too, unless `replace`.
    pub(crate) fn refuse(&self, error: Error, replace: bool) {
        let room = {
            let mut state = lock(&self.state);
            if replace || state.refusal.is_none() {
                state.refusal = Some(error);
            }
            state.room.drain()
        };
        room.into_iter().for_each(Waker::wake);
    }

    /// Why appends are refused; `None` while they are not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        lock(&self.state).refusal.clone()
    }

    /// Answers everything that waits with this error.
    pub(crate) fn fail_all(&self, error: &Error) {
        let items = {
            let mut state = lock(&self.state);
            state.bytes = 0;
            std::mem::take(&mut state.items)
        };
        items.into_iter().for_each(|item| item.fail(error));
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Registers to be woken when there is room; `false` if there is some now.
    pub(crate) fn register_room(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let crowded =
            state.bytes >= self.bytes_max / 2 || state.bytes + state.wanted > self.bytes_max;
        let waits = state.bytes > 0 && crowded && state.refusal.is_none();
        if waits {
            state.room.register(key, waker);
        }
        waits
    }

    /// Registers to be woken when the last job is over; `false` if it is.
    pub(crate) fn register_idle(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.jobs > 0 {
            state.idle.register(key, waker);
        }
        state.jobs > 0
    }

    /// Takes a registration for room back.
    pub(crate) fn unregister_room(&self, key: Option<u64>) {
        lock(&self.state).room.forget(key);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use styx_protocol::Records;

    use super::*;
    use crate::wait::promise;

    fn item(payload_bytes: usize) -> Item {
        let append = Records::one(&vec![b'x'; payload_bytes]).into();
        Item::Append { append, stream_error: None, promise: promise().0 }
    }

    /// A large append that did not fit beside what took less than half of the queue was
    /// told at once that there was room again: whoever waited span until the queue
    /// was taken.
    #[test]
    fn who_was_turned_away_waits_until_something_is_taken() {
        let queue = Queue::new(10_000, usize::MAX);
        assert!(matches!(queue.push(item(3000)), Ok(Pushed::Submit)));
        let (mut key, waker) = (None, Waker::noop());
        assert!(!queue.register_room(&mut key, waker), "nobody was turned away");
        assert!(matches!(queue.push(item(8000)), Ok(Pushed::Full(_))));
        assert!(queue.register_room(&mut key, waker));
        assert_eq!(queue.take(usize::MAX, u64::MAX).len(), 1);
        assert!(!queue.register_room(&mut key, waker));
        assert!(matches!(queue.push(item(8000)), Ok(Pushed::Behind)));
    }

    #[test]
    fn a_second_job_comes_for_much_and_leaves_little_to_the_first() {
        let queue = Queue::new(usize::MAX, 5000);
        let take_one = || queue.take(0, u64::MAX).len();
        assert!(matches!(queue.push(item(3000)), Ok(Pushed::Submit)));
        assert!(matches!(queue.push(item(3000)), Ok(Pushed::Submit)));
        assert!(matches!(queue.push(item(3000)), Ok(Pushed::Behind)), "two are enough");
        assert_eq!(take_one(), 1);
        assert_eq!(take_one(), 1);
        assert_eq!(take_one(), 0, "one of them is over");
        let (mut key, waker) = (None, Waker::noop());
        assert!(queue.register_idle(&mut key, waker));
        assert_eq!(take_one(), 1, "the other one goes on");
        assert!(queue.register_idle(&mut key, waker));
        assert_eq!(take_one(), 0);
        assert!(!queue.register_idle(&mut key, waker));
    }
}
