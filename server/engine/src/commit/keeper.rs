//! What is due later: watermarks, retention, segments that have become too old, memory
//! that nobody asks for any more.
//!
//! One thread for all logs. It sleeps until a log says that something is due,
//! looks every 25 ms while a watermark is owed, and once a second while a log
//! has an age limit or rooms of groups are kept. [`Keeper::tick`] is one look, so
//! that a test can do without the thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::buffer_pool::BufferPool;
use crate::log::Inner;
use crate::wait::lock;

const OWED_EVERY: Duration = Duration::from_millis(25);
const OTHERS_EVERY: Duration = Duration::from_secs(1);

/// See the module. Its thread ends when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer_pool: Arc<BufferPool>,
    state: Mutex<State>,
    due: Condvar,
}

#[derive(Debug, Default)]
struct State {
    owed: Vec<Weak<Inner>>,
    aging: Vec<Weak<Inner>>,
    others_looked_at: Duration,
    stopping: bool,
}

impl Keeper {
    /// Without a thread; see [`Keeper::tick`].
    pub(crate) fn new(buffer_pool: Arc<BufferPool>) -> Keeper {
        let shared = Shared { buffer_pool, state: Mutex::default(), due: Condvar::new() };
        Keeper { shared: Arc::new(shared) }
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
            let others = !state.aging.is_empty() || self.buffer_pool.is_active();
            let pause = match (state.owed.is_empty(), others) {
                (false, _) => Some(OWED_EVERY),
                (true, true) => Some(OTHERS_EVERY),
                (true, false) => None,
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
        let (owed, aging, is_slow_tick) = {
            let mut state = lock(&self.state);
            let is_slow_tick = now.saturating_sub(state.others_looked_at) >= OTHERS_EVERY;
            if is_slow_tick {
                state.others_looked_at = now;
                state.aging.retain(|log| log.strong_count() > 0);
            }
            let aging = if is_slow_tick { state.aging.clone() } else { Vec::new() };
            (std::mem::take(&mut state.owed), aging, is_slow_tick)
        };
        let still: Vec<_> = owed
            .into_iter()
            .filter(|log| log.upgrade().is_some_and(|log| !log.settle(now)))
            .collect();
        lock(&self.state).owed.extend(still);
        if is_slow_tick {
            self.buffer_pool.free_unused();
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::{Clock, RealClock};
    use crate::commit::buffer_pool::BUFFER_BYTES_MAX;

    #[test]
    fn rooms_that_nobody_asks_for_are_given_back_when_nothing_else_is_due() {
        let buffer_pool = Arc::<BufferPool>::default();
        let keeper = Keeper::new(Arc::clone(&buffer_pool));
        keeper.start(Arc::new(RealClock)).expect("a thread");
        // As a commit does.
        drop(buffer_pool.acquire(BUFFER_BYTES_MAX));
        keeper.owe(Weak::new());
        let begun = RealClock.monotonic();
        while buffer_pool.is_active() {
            let waited = RealClock.monotonic() - begun;
            assert!(waited < Duration::from_secs(60), "they are kept for ever");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
