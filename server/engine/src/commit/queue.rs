//! The queue of a log: bounded in bytes, drained in groups.
//!
//! Invariant: while requests wait, a job for this log is with the thread pool, so no request
//! waits forever. A second job is submitted when many bytes wait. It ends when few are left;
//! the first job stays until the queue is empty.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use styx_protocol::limits::BLOCK_HEADER_BYTES;

use crate::Error;
use crate::append::{Append, Appended, ProducerState, StreamError};
use crate::sync::handoff::{Mutex, lock};
use crate::wait::{Promise, Wakers};

/// A request that waits for its group.
#[derive(Debug)]
pub(crate) enum Request {
    /// Append records.
    Append {
        append: Append,
        /// The error of the stream that the append belongs to.
        stream_error: Option<Arc<StreamError>>,
        promise: Promise<Appended>,
        /// The monotonic time at which it was queued.
        queued_at_us: u64,
    },
    /// Begin a producer, after everything that was queued before.
    Begin { producer: u64, epoch: Option<u32>, promise: Promise<ProducerState> },
    /// Forget a producer, after everything that was queued before.
    Forget { producer: u64 },
}

impl Request {
    /// Bytes of records as they will be stored.
    pub(crate) fn len_bytes(&self) -> usize {
        match self {
            Request::Append { append, .. } => append.len_bytes(),
            Request::Begin { .. } | Request::Forget { .. } => 0,
        }
    }

    /// The most bytes that the request needs in a group.
    pub(crate) fn block_bytes(&self) -> usize {
        BLOCK_HEADER_BYTES + self.len_bytes()
    }

    /// The number of records.
    pub(crate) fn count(&self) -> u32 {
        match self {
            Request::Append { append, .. } => append.count(),
            Request::Begin { .. } | Request::Forget { .. } => 0,
        }
    }

    /// Completes the request with an error.
    pub(crate) fn fail(self, error: &Error) {
        match self {
            Request::Append { stream_error, promise, .. } => {
                if let Some(stream_error) = stream_error {
                    stream_error.set(error);
                }
                promise.complete(Err(error.clone()));
            }
            Request::Begin { promise, .. } => promise.complete(Err(error.clone())),
            Request::Forget { .. } => {}
        }
    }

    fn cost(&self) -> usize {
        REQUEST_BYTES + self.len_bytes()
    }
}

/// The cost of a request in addition to its bytes.
const REQUEST_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
    /// Waiting bytes at which a second job is submitted.
    second_job_bytes_min: usize,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    /// The cost of the largest append that was rejected since the last take.
    largest_rejected: usize,
    /// Jobs with the thread pool: 0, 1 or 2.
    jobs: usize,
    refusal: Option<Error>,
    space_waiters: Wakers,
    idle_waiters: Wakers,
}

/// The result of [`Queue::push`].
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Queued; the caller must submit a job.
    Submit,
    /// Queued; a job that was submitted before will take it.
    Behind,
    /// Not queued.
    Full(Request),
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, second_job_bytes_min: usize) -> Queue {
        Queue { state: Mutex::default(), bytes_max, second_job_bytes_min }
    }

    /// Queues a request. An append is rejected while the queue is full, but an empty queue accepts
    /// an append of any size. Requests that a connection sends at most once are always accepted.
    ///
    /// # Errors
    /// Why the log accepts no appends.
    pub(crate) fn push(&self, request: Request) -> Result<Pushed, Error> {
        let cost = request.cost();
        let mut state = lock(&self.state);
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let waits = matches!(request, Request::Append { .. });
        if waits && state.bytes > 0 && state.bytes + cost > self.bytes_max {
            state.largest_rejected = state.largest_rejected.max(cost);
            return Ok(Pushed::Full(request));
        }
        state.bytes += cost;
        state.requests.push_back(request);
        let jobs = if state.bytes < self.second_job_bytes_min { 1 } else { 2 };
        if state.jobs >= jobs {
            return Ok(Pushed::Behind);
        }
        state.jobs += 1;
        Ok(Pushed::Submit)
    }

    /// Takes the next group: the first request, and those after it that fit within the limits. An
    /// empty group ends the job: nothing is left, or so little that it is left to the other job.
    pub(crate) fn take(&self, bytes_max: usize, records_max: u64) -> Vec<Request> {
        let mut group = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        let (space_waiters, idle) = {
            let mut state = lock(&self.state);
            let leave_to_other_job = state.jobs > 1 && state.bytes < self.second_job_bytes_min;
            while let Some(request) = state.requests.front().filter(|_| !leave_to_other_job) {
                bytes += request.block_bytes();
                records += u64::from(request.count());
                if !group.is_empty() && (bytes > bytes_max || records > records_max) {
                    break;
                }
                group.extend(state.requests.pop_front());
            }
            state.bytes -= group.iter().map(Request::cost).sum::<usize>();
            state.largest_rejected = 0;
            let idle = if group.is_empty() {
                state.jobs -= 1;
                match state.jobs {
                    0 => state.idle_waiters.drain(),
                    _ => Vec::new(),
                }
            } else {
                Vec::new()
            };
            (state.space_waiters.drain(), idle)
        };
        space_waiters.into_iter().chain(idle).for_each(Waker::wake);
        group
    }

    /// From now on every append is refused with `error`; requests that wait are kept. The first
    /// refusal stays in force unless `replace` is set.
    pub(crate) fn refuse(&self, error: Error, replace: bool) {
        let space_waiters = {
            let mut state = lock(&self.state);
            if replace || state.refusal.is_none() {
                state.refusal = Some(error);
            }
            state.space_waiters.drain()
        };
        space_waiters.into_iter().for_each(Waker::wake);
    }

    /// Why appends are refused; `None` while they are accepted.
    pub(crate) fn refusal(&self) -> Option<Error> {
        lock(&self.state).refusal.clone()
    }

    /// Completes every waiting request with this error.
    pub(crate) fn fail_all(&self, error: &Error) {
        let requests = {
            let mut state = lock(&self.state);
            state.bytes = 0;
            std::mem::take(&mut state.requests)
        };
        requests.into_iter().for_each(|request| request.fail(error));
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Registers a waker to be woken when there is space; returns `false` if there is space now.
    pub(crate) fn register_space(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let is_full = state.bytes >= self.bytes_max / 2
            || state.bytes + state.largest_rejected > self.bytes_max;
        let waits = state.bytes > 0 && is_full && state.refusal.is_none();
        if waits {
            state.space_waiters.register(key, waker);
        }
        waits
    }

    /// Registers a waker to be woken when the last job ends; returns `false` if none runs.
    pub(crate) fn register_idle(&self, key: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.jobs > 0 {
            state.idle_waiters.register(key, waker);
        }
        state.jobs > 0
    }

    /// Removes a registration for space.
    pub(crate) fn unregister_space(&self, key: Option<u64>) {
        lock(&self.state).space_waiters.unregister(key);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use styx_protocol::Records;

    use super::*;
    use crate::wait::promise;

    fn request(payload_bytes: usize) -> Request {
        let append = Records::one(&vec![b'x'; payload_bytes]).into();
        Request::Append { append, stream_error: None, promise: promise().0, queued_at_us: 0 }
    }

    /// An append that did not fit was told at once that there was space, if the queue was less than
    /// half full. Its caller then busy-waited until the queue was taken.
    #[test]
    fn a_rejected_append_waits_until_a_take() {
        let queue = Queue::new(10_000, usize::MAX);
        assert!(matches!(queue.push(request(3000)), Ok(Pushed::Submit)));
        let (mut key, waker) = (None, Waker::noop());
        assert!(!queue.register_space(&mut key, waker), "nobody was turned away");
        assert!(matches!(queue.push(request(8000)), Ok(Pushed::Full(_))));
        assert!(queue.register_space(&mut key, waker));
        assert_eq!(queue.take(usize::MAX, u64::MAX).len(), 1);
        assert!(!queue.register_space(&mut key, waker));
        assert!(matches!(queue.push(request(8000)), Ok(Pushed::Behind)));
    }

    #[test]
    fn a_second_job_runs_only_while_many_bytes_wait() {
        let queue = Queue::new(usize::MAX, 5000);
        let take_one = || queue.take(0, u64::MAX).len();
        assert!(matches!(queue.push(request(3000)), Ok(Pushed::Submit)));
        assert!(matches!(queue.push(request(3000)), Ok(Pushed::Submit)));
        assert!(matches!(queue.push(request(3000)), Ok(Pushed::Behind)), "two are enough");
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
