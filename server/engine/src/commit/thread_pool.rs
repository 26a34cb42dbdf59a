//! A small pool of threads, such as those that commit for thousands of logs.
//!
//! A thread is started when a job finds no idle one, up to the limit, and then stays. With a
//! limit of 0 there are no threads: a test runs the jobs itself, in order.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::sync::lock;

/// Work that is run until nothing is left to do.
pub(crate) trait Job: Debug + Send + Sync {
    /// Does one portion; returns whether there may be more.
    fn run(&self) -> bool;
}

/// See the module. The threads end when the last handle is dropped.
#[derive(Debug)]
pub(crate) struct ThreadPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads_max: usize,
    name: &'static str,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<dyn Job>>,
    idle: usize,
    threads: usize,
    stopping: bool,
}

/// Enough for the few frames of a committer. Untouched pages cost nothing.
const STACK_BYTES: usize = 512 << 10;

impl ThreadPool {
    /// Up to `threads_max` threads of this name.
    pub(crate) fn new(name: &'static str, threads_max: usize) -> ThreadPool {
        let (state, work) = (Mutex::default(), Condvar::new());
        ThreadPool { shared: Arc::new(Shared { state, work, threads_max, name }) }
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

    /// Runs one portion of one job on this thread; returns whether there was a job.
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
            .name(shared.name.into())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.run_worker());
        if let Err(error) = started {
            lock(&self.shared.state).threads -= 1;
            let name = self.shared.name;
            tracing::error!(%error, name, "cannot start a thread; others do its work, more slowly");
            // Other threads will run the job. If there are none, this thread does.
            if lock(&self.shared.state).threads == 0 {
                while self.run_one() {}
            }
        }
    }
}

impl Shared {
    fn run_worker(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.ready.pop_front() {
                drop(state);
                let mut more = job.run();
                // Stay with a busy log unless other logs wait for a thread.
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

impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.work.notify_all();
    }
}
