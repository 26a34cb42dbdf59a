//! The queue in front of a log: bounded in bytes, drained whole.
//!
//! Invariant: while anything waits, `busy` is set and exactly one job for this
//! log is with the pool, so nothing waits forever and no two threads commit to
//! one log.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::Waker;

use crate::append::{Append, Appended};
use crate::wait::{Promise, Wakers, lock};
use crate::{Error, Full};

/// One append that waits for its group.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) append: Append,
    pub(crate) promise: Promise<Result<Appended, Error>>,
}

impl Drop for Item {
    /// Nobody is left without an answer, even if a committer panics.
    fn drop(&mut self) {
        self.promise.keep(Err(Error::OutcomeUnknown {
            cause: "the append was dropped before it was answered".into(),
        }));
    }
}

/// What each item costs beside its bytes.
const ITEM_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    busy: bool,
    refusal: Option<Error>,
    room: Wakers,
    idle: Wakers,
}

/// What [`Queue::push`] did.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Queued; the job is to be submitted.
    First,
    /// Queued behind others.
    Behind,
    /// Not queued.
    Full(Full),
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Queue {
        Queue { state: Mutex::default(), bytes_max }
    }

    /// Queues an append unless the queue is full; a queue with nothing in it
    /// takes any.
    ///
    /// # Errors
    /// Why the log takes no appends.
    pub(crate) fn push(
        &self,
        append: Append,
        promise: Promise<Result<Appended, Error>>,
    ) -> Result<Pushed, Error> {
        let cost = ITEM_BYTES + append.records.bytes().len();
        let mut state = lock(&self.state);
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        if state.bytes > 0 && state.bytes + cost > self.bytes_max {
            return Ok(Pushed::Full(Full(append)));
        }
        state.bytes += cost;
        state.items.push_back(Item { append, promise });
        Ok(if std::mem::replace(&mut state.busy, true) { Pushed::Behind } else { Pushed::First })
    }

    /// Takes the next group: the first item and what follows it within the
    /// bounds. Nothing left means that the job is over.
    pub(crate) fn take(&self, bytes_max: usize, records_max: u64) -> Vec<Item> {
        let mut group = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        let (room, idle) = {
            let mut state = lock(&self.state);
            while let Some(item) = state.items.front() {
                bytes += item.append.records.bytes().len();
                records += u64::from(item.append.records.count());
                if !group.is_empty() && (bytes > bytes_max || records > records_max) {
                    break;
                }
                group.extend(state.items.pop_front());
            }
            let costs = group.iter().map(|item| ITEM_BYTES + item.append.records.bytes().len());
            state.bytes -= costs.sum::<usize>();
            let idle = if group.is_empty() {
                state.busy = false;
                state.idle.drain()
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
        for item in items {
            item.promise.keep(Err(error.clone()));
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Registers to be woken when there is room; `false` if there is some now.
    pub(crate) fn register_room(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let waits = state.bytes >= self.bytes_max / 2 && state.refusal.is_none();
        if waits {
            state.room.register(key, waker);
        }
        waits
    }

    /// Registers to be woken when the job is over; `false` if it is.
    pub(crate) fn register_idle(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.busy {
            state.idle.register(key, waker);
        }
        state.busy
    }

    /// Takes a registration for room back.
    pub(crate) fn unregister_room(&self, key: Option<u64>) {
        lock(&self.state).room.forget(key);
    }
}
