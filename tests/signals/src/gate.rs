//! [`Gate`]: stops a thread at a known place.

use std::sync::{Condvar, Mutex, PoisonError};

/// A place where one thread stops until another thread lets it go on.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_reached: bool,
    is_open: bool,
}

impl Gate {
    /// A closed gate that exists until the end of the process.
    #[must_use]
    pub fn leaked() -> &'static Gate {
        Box::leak(Box::default())
    }

    /// Waits until a thread has reached the gate.
    pub fn wait_until_reached(&self) {
        self.wait(|state| state.is_reached);
    }

    /// Lets the thread go on.
    pub fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_open = true;
        self.changed.notify_all();
    }

    /// Stops here until the gate is open.
    pub(crate) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_reached = true;
        self.changed.notify_all();
        self.wait(|state| state.is_open);
    }

    fn wait(&self, is_done: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(state, |state| !is_done(state)));
    }
}
