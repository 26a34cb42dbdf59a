//! A small pool of threads that commit for thousands of logs.
//!
//! Threads are started when a job finds none idle, up to the bound, and stay.
//! With a bound of 0 there are none: a test runs the jobs itself, in order.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::wait::lock;

/// Something to be run until it has nothing left to do.
pub(crate) trait Job: Debug + Send + Sync {
    /// Does one portion; says whether there may be more.
    fn run(&self) -> bool;
}

/// See the module. Threads end when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads_max: usize,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<dyn Job>>,
    idle: usize,
    threads: usize,
    stopping: bool,
}

/// Enough for the committer's few frames; untouched pages cost nothing.
const STACK_BYTES: usize = 512 << 10;

impl Pool {
    pub(crate) fn new(threads_max: usize) -> Pool {
        Pool {
            shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), threads_max }),
        }
    }

    /// Hands a job to a thread.
    pub(crate) fn submit(&self, job: Arc<dyn Job>) {
        let spawn = {
            let mut state = lock(&self.shared.state);
            state.ready.push_back(job);
            let spawn = state.ready.len() > state.idle && state.threads < self.shared.threads_max;
            state.threads += usize::from(spawn);
            spawn
        };
        if spawn {
            self.spawn();
        } else {
            self.shared.work.notify_one();
        }
    }

    /// Runs one portion of one job on this thread; says whether there was one.
    pub(crate) fn run_one(&self) -> bool {
        let Some(job) = lock(&self.shared.state).ready.pop_front() else {
            return false;
        };
        if job.run() {
            lock(&self.shared.state).ready.push_back(job);
        }
        true
    }

    fn spawn(&self) {
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("styx-commit".into())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work_on());
        if let Err(error) = started {
            lock(&self.shared.state).threads -= 1;
            tracing::error!(%error, "cannot start a committer thread");
            // Others will come to it; alone, there would be nobody.
            if lock(&self.shared.state).threads == 0 {
                while self.run_one() {}
            }
        }
    }
}

impl Shared {
    fn work_on(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.ready.pop_front() {
                drop(state);
                let mut more = job.run();
                // Stay with a busy log unless others wait for a thread.
                while more && !self.others_wait() {
                    more = job.run();
                }
                state = lock(&self.state);
                if more {
                    state.ready.push_back(job);
                }
            } else if state.stopping {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn others_wait(&self) -> bool {
        !lock(&self.state).ready.is_empty()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.work.notify_all();
    }
}
