//! [`Gate`]: gives workers the server's address, and blocks them while there is none.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Workers wait here whenever their connection breaks. Each opening has a number, so
/// that no worker continues with a server that was killed meanwhile.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    address: Option<SocketAddr>,
    opening: u64,
    waiting: usize,
    over: bool,
}

impl Gate {
    /// Lets the workers connect to this server.
    pub fn open(&self, address: SocketAddr) {
        let mut state = self.lock();
        state.address = Some(address);
        state.opening += 1;
        self.changed.notify_all();
    }

    /// Blocks the workers when their connections break.
    pub fn close(&self) {
        self.lock().address = None;
    }

    /// Ends all workers.
    pub fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits until `workers` workers wait here. None of them then has an answer that it
    /// has not noted yet.
    ///
    /// # Panics
    /// When that takes longer than 30 seconds.
    pub fn await_waiting(&self, workers: usize) {
        let start = Instant::now();
        let mut state = self.lock();
        while state.waiting < workers {
            assert!(start.elapsed() < Duration::from_secs(30), "{state:?}, not {workers} waiting");
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.expect("no worker panics at the gate").0;
        }
    }

    /// Waits for an opening after number `last`; `None` when the workers have to end.
    #[must_use]
    pub fn pass(&self, last: u64) -> Option<(SocketAddr, u64)> {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        let passed = loop {
            match state.address {
                _ if state.over => break None,
                Some(address) if state.opening > last => break Some((address, state.opening)),
                _ => state = self.changed.wait(state).expect("no worker panics at the gate"),
            }
        };
        state.waiting -= 1;
        passed
    }

    /// Whether workers of this opening may continue.
    #[must_use]
    pub fn is_open(&self, opening: u64) -> bool {
        let state = self.lock();
        state.address.is_some() && state.opening == opening && !state.over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no worker panics at the gate")
    }
}
