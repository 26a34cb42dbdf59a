//! The maintainer: watermarks, retention, segments that became too old, and unused buffers.
//!
//! One thread for all logs. It sleeps until a log schedules maintenance. It then looks every 25
//! ms while maintenance is scheduled, and once a second while a log has an age limit, or the buffer
//! pool or the read-ahead keeps buffers. [`Maintainer::tick`] is one such look, so a test can do
//! without the thread. Once a minute it looks at the wall clock, so that a jump is noticed on an
//! idle server too.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::clock::StampClock;
use crate::commit::buffer_pool::BufferPool;
use crate::log::LogInner;
use crate::read_ahead::ReadAhead;
use crate::sync::lock;

const SCHEDULED_EVERY: Duration = Duration::from_millis(25);
const SLOW_TICK_EVERY: Duration = Duration::from_secs(1);
/// How often the wall clock is looked at.
const IDLE_TICK_EVERY: Duration = Duration::from_secs(60);

/// See the module. Its thread ends when the last handle is dropped.
#[derive(Debug)]
pub(crate) struct Maintainer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer_pool: Arc<BufferPool>,
    read_ahead: Arc<ReadAhead>,
    stamps: Arc<StampClock>,
    state: Mutex<State>,
    due: Condvar,
}

#[derive(Debug, Default)]
struct State {
    scheduled: Vec<Weak<LogInner>>,
    age_limited: Vec<Weak<LogInner>>,
    last_slow_tick: Duration,
    stopping: bool,
}

impl Maintainer {
    /// Without a thread; see [`Maintainer::tick`].
    pub(crate) fn new(
        buffer_pool: Arc<BufferPool>,
        read_ahead: Arc<ReadAhead>,
        stamps: Arc<StampClock>,
    ) -> Maintainer {
        let state = Mutex::default();
        let shared = Shared { buffer_pool, read_ahead, stamps, state, due: Condvar::new() };
        Maintainer { shared: Arc::new(shared) }
    }

    /// Starts the thread.
    pub(crate) fn start(&self, clock: Arc<dyn crate::clock::Clock>) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("styx-maintain".into());
        thread.stack_size(512 << 10).spawn(move || shared.run(&*clock)).map(drop)
    }

    /// Schedules maintenance of this log.
    pub(crate) fn schedule(&self, log: Weak<LogInner>) {
        lock(&self.shared.state).scheduled.push(log);
        self.shared.due.notify_one();
    }

    /// Looks again at what has to be done: memory is used that must be freed later.
    pub(crate) fn wake(&self) {
        // Not between the thread's look and its sleep.
        drop(lock(&self.shared.state));
        self.shared.due.notify_one();
    }

    /// Registers a log that has an age limit.
    pub(crate) fn watch_age_limits(&self, log: Weak<LogInner>) {
        lock(&self.shared.state).age_limited.push(log);
        self.shared.due.notify_one();
    }

    /// Does all work that is due.
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
            let others = !state.age_limited.is_empty()
                || self.buffer_pool.is_active()
                || self.read_ahead.is_active();
            let pause = match (state.scheduled.is_empty(), others) {
                (false, _) => Some(SCHEDULED_EVERY),
                (true, true) => Some(SLOW_TICK_EVERY),
                (true, false) => None,
            };
            if let Some(pause) = pause {
                let waited = self.due.wait_timeout_while(state, pause, |state| !state.stopping);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                let waited = self.due.wait_timeout(state, IDLE_TICK_EVERY);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            drop(state);
            self.tick(clock.monotonic());
        }
    }

    fn tick(&self, now: Duration) {
        let (scheduled, age_limited, is_slow_tick) = {
            let mut state = lock(&self.state);
            let is_slow_tick = now.saturating_sub(state.last_slow_tick) >= SLOW_TICK_EVERY;
            if is_slow_tick {
                state.last_slow_tick = now;
                state.age_limited.retain(|log| log.strong_count() > 0);
            }
            let age_limited = if is_slow_tick { state.age_limited.clone() } else { Vec::new() };
            (std::mem::take(&mut state.scheduled), age_limited, is_slow_tick)
        };
        let still: Vec<_> = scheduled
            .into_iter()
            .filter(|log| log.upgrade().is_some_and(|log| !log.maintain(now)))
            .collect();
        lock(&self.state).scheduled.extend(still);
        if is_slow_tick {
            self.buffer_pool.free_unused();
            self.read_ahead.free_unused();
            self.stamps.now_us();
        }
        for log in age_limited.iter().filter_map(Weak::upgrade) {
            log.enforce_age_limits();
        }
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.due.notify_all();
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::clock::{Clock, RealClock, SteadyTime};
    use crate::commit::buffer_pool::BUFFER_BYTES_MAX;

    #[test]
    fn the_thread_frees_unused_buffers() {
        let buffer_pool = Arc::<BufferPool>::default();
        let stamps = StampClock::new(SteadyTime::new(Arc::new(RealClock)));
        let maintainer = Maintainer::new(
            Arc::clone(&buffer_pool),
            Arc::new(ReadAhead::new(0, false)),
            Arc::new(stamps),
        );
        maintainer.start(Arc::new(RealClock)).expect("a thread");
        // As a commit does.
        drop(buffer_pool.acquire(BUFFER_BYTES_MAX));
        maintainer.schedule(Weak::new());
        let begun = RealClock.monotonic();
        while buffer_pool.is_active() {
            let waited = RealClock.monotonic() - begun;
            assert!(waited < Duration::from_secs(60), "they are kept for ever");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
