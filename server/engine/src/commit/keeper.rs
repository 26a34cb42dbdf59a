//! What is due later: watermarks, retention, segments that have become too old.
//!
//! One thread for all logs. It sleeps until a log says that something is due,
//! looks every 25 ms while a watermark is owed, and once a second while a log
//! has an age limit. [`Keeper::tick`] is one look, so that a test can do without
//! the thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::log::Inner;
use crate::wait::lock;

const OWED_EVERY: Duration = Duration::from_millis(25);
const AGES_EVERY: Duration = Duration::from_secs(1);

/// See the module. Its thread ends when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    due: Condvar,
}

#[derive(Debug, Default)]
struct State {
    owed: Vec<Weak<Inner>>,
    aging: Vec<Weak<Inner>>,
    ages_looked_at: Duration,
    stopping: bool,
}

impl Keeper {
    /// Without a thread; see [`Keeper::tick`].
    pub(crate) fn new() -> Keeper {
        Keeper { shared: Arc::default() }
    }

    /// Starts the thread.
    pub(crate) fn start(&self, clock: Arc<dyn crate::clock::Clock>) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("styx-keeper".into());
        thread.stack_size(512 << 10).spawn(move || shared.run(&*clock)).map(drop)
    }

    /// Something of this log is due soon.
    pub(crate) fn owe(&self, log: Weak<Inner>) {
        lock(&self.shared.state).owed.push(log);
        self.shared.due.notify_one();
    }

    /// This log has an age limit.
    pub(crate) fn watch_ages(&self, log: Weak<Inner>) {
        lock(&self.shared.state).aging.push(log);
        self.shared.due.notify_one();
    }

    /// Looks once at everything.
    pub(crate) fn tick(&self, now: Duration) {
        self.shared.tick(now);
    }
}

impl Shared {
    fn run(&self, clock: &dyn crate::clock::Clock) {
        loop {
            let mut state = lock(&self.state);
            if state.stopping {
                return;
            }
            let pause = match (state.owed.is_empty(), state.aging.is_empty()) {
                (false, _) => Some(OWED_EVERY),
                (true, false) => Some(AGES_EVERY),
                (true, true) => None,
            };
            if let Some(pause) = pause {
                let waited = self.due.wait_timeout_while(state, pause, |state| !state.stopping);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state = self.due.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            self.tick(clock.monotonic());
        }
    }

    fn tick(&self, now: Duration) {
        let (owed, aging) = {
            let mut state = lock(&self.state);
            let look = now.saturating_sub(state.ages_looked_at) >= AGES_EVERY;
            if look {
                state.ages_looked_at = now;
                state.aging.retain(|log| log.strong_count() > 0);
            }
            let aging = if look { state.aging.clone() } else { Vec::new() };
            (std::mem::take(&mut state.owed), aging)
        };
        let still: Vec<_> = owed
            .into_iter()
            .filter(|log| log.upgrade().is_some_and(|log| !log.settle(now)))
            .collect();
        lock(&self.state).owed.extend(still);
        for log in aging.iter().filter_map(Weak::upgrade) {
            log.age();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.due.notify_all();
    }
}
