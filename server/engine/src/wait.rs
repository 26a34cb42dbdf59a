//! Waiting without a runtime: one result ([`Promise`] → [`Completion`]), and many wakers that
//! are woken together ([`Wakers`], [`WakeList`]).
//!
//! Invariant: a waker is registered under the same lock that guards the condition it waits for,
//! so no wake-up is lost. Wakers are called after that lock is released. A promise that is
//! dropped is completed with an error, so nothing waits forever.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::Error;
use crate::sync::handoff::{Mutex, lock};

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, Error>),
    Taken,
}

/// The side that provides the result, once; at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Promise<T>(Arc<Mutex<State<T>>>);

/// The side that waits for the result.
#[derive(Debug)]
pub(crate) struct Completion<T>(Arc<Mutex<State<T>>>);

/// Creates both sides.
pub(crate) fn promise<T>() -> (Promise<T>, Completion<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Arc::clone(&state)), Completion(state))
}

impl<T> Promise<T> {
    /// Sets the result and wakes the waiting task.
    pub(crate) fn complete(self, value: Result<T, Error>) {
        if let Some(waker) = self.complete_without_waking(value) {
            waker.wake();
        }
    }

    /// Sets the result and returns the waker, which the caller must wake.
    #[must_use]
    pub(crate) fn complete_without_waking(self, value: Result<T, Error>) -> Option<Waker> {
        self.resolve(|| value)
    }

    /// The first result counts.
    fn resolve(&self, value: impl FnOnce() -> Result<T, Error>) -> Option<Waker> {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Waiting(waker) => {
                let waker = waker.take();
                *state = State::Done(value());
                waker
            }
            State::Done(_) | State::Taken => None,
        }
    }
}

impl<T> Drop for Promise<T> {
    /// Completes the promise even if a committer panics.
    fn drop(&mut self) {
        let unknown = || Error::OutcomeUnknown {
            cause: "the request was dropped before it was completed".into(),
        };
        let waker = self.resolve(|| Err(unknown()));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Completion<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(value) => Poll::Ready(value),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => panic!("a completion was polled after it was ready"),
        }
    }
}

/// Wakers that are all woken together. They are stored inside the mutex that guards the
/// condition they wait for.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    next_key: u64,
    waiting: HashMap<u64, Waker>,
}

impl Wakers {
    /// Registers a waker, or replaces the one that was registered with the same key.
    pub(crate) fn register(&mut self, key: &mut Option<u64>, waker: &Waker) {
        let key = *key.get_or_insert_with(|| {
            self.next_key += 1;
            self.next_key
        });
        match self.waiting.get_mut(&key) {
            Some(old) => old.clone_from(waker),
            None => {
                self.waiting.insert(key, waker.clone());
            }
        }
    }

    /// Removes the waker of a task that no longer waits.
    pub(crate) fn unregister(&mut self, key: Option<u64>) {
        if let Some(key) = key {
            self.waiting.remove(&key);
        }
    }

    /// Whether no task waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes and returns all wakers; the caller wakes them after it releases the lock.
    #[must_use]
    pub(crate) fn drain(&mut self) -> Vec<Waker> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.waiting.drain().map(|(_, waker)| waker).collect()
    }
}

/// The wakers of a group's results. They are woken after the last result is set, so a task that
/// waits for many of them is woken once and finds them all.
#[derive(Debug, Default)]
pub(crate) struct WakeList(Vec<Waker>);

impl WakeList {
    /// Adds the waker of one result.
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        if !self.0.last().is_some_and(|last| last.will_wake(&waker)) {
            self.0.push(waker);
        }
    }

    /// Wakes all of them.
    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}
