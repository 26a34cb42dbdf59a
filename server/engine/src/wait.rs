//! Waiting without a runtime: one answer ([`Promise`] → `Answer`), and
//! many wakers to be woken together ([`Wakers`], [`Woken`]).
//!
//! The invariant of all: a waker is registered under the same lock that guards
//! what it waits for, so no wake-up is lost; wakers run outside that lock. A
//! promise that is dropped is answered too, so nobody waits forever.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::Error;
use crate::sync::{self, Mutex};

/// Locks, and goes on where another thread panicked: each guarded value is
/// valid between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, which sleeps meanwhile.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Done(Result<T, Error>),
    Taken,
}

/// The side that answers, once; at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Promise<T>(Arc<Mutex<State<T>>>);

/// The side that waits.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

/// The two ends of one answer.
pub(crate) fn promise<T>() -> (Promise<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Arc::clone(&state)), Answer(state))
}

impl<T> Promise<T> {
    /// Answers and wakes whoever waits.
    pub(crate) fn keep(self, value: Result<T, Error>) {
        if let Some(waker) = self.keep_quietly(value) {
            waker.wake();
        }
    }

    /// Answers; gives back who waits, for the caller to wake.
    #[must_use]
    pub(crate) fn keep_quietly(self, value: Result<T, Error>) -> Option<Waker> {
        self.answer(|| value)
    }

    /// The first answer counts.
    fn answer(&self, value: impl FnOnce() -> Result<T, Error>) -> Option<Waker> {
        let mut state = sync::lock(&self.0);
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
    /// Nobody is left without an answer, even if a committer panics.
    fn drop(&mut self) {
        let unknown = || Error::OutcomeUnknown {
            cause: "the request was dropped before it was answered".into(),
        };
        let waker = self.answer(|| Err(unknown()));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let mut state = sync::lock(&self.0);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(value) => Poll::Ready(value),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Taken => panic!("an answer was polled after it was taken"),
        }
    }
}

/// Wakers that are all woken at once. Lives inside the mutex of what they wait
/// for.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    next_key: u64,
    waiting: HashMap<u64, Waker>,
}

impl Wakers {
    /// Registers, or replaces what the same waiter registered before.
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

    /// Forgets a waiter that gave up.
    pub(crate) fn forget(&mut self, key: Option<u64>) {
        if let Some(key) = key {
            self.waiting.remove(&key);
        }
    }

    /// Everyone who waits; to be woken after the lock is released.
    #[must_use]
    pub(crate) fn drain(&mut self) -> Vec<Waker> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.waiting.drain().map(|(_, waker)| waker).collect()
    }
}

/// Whom to wake when a group's last answer is there, so that who waits for many
/// of them is woken once and finds all.
#[derive(Debug, Default)]
pub(crate) struct Woken(Vec<Waker>);

impl Woken {
    /// Who waited for one answer.
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        if !self.0.last().is_some_and(|last| last.will_wake(&waker)) {
            self.0.push(waker);
        }
    }

    /// Wakes them all.
    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}
