//! [`Bell`]: lets a signal handler wake consumers. A signal handler may not take a lock or
//! call a waker, so it only writes to a pipe, and a task of the client does the rest.
//!
//! ```text
//! signal handler ─ Handle::wakeup ─▶ flag of the consumer's queue, then Bell::ring
//!                                                                        │ pipe
//! waiting call ◀─ waker ◀─ BatchQueue::deliver_wakeup ◀─ answer (task) ◀─┘
//! ```
//! Each client has one bell, which all its consumers share. The task sleeps in the
//! runtime's poller until the bell rings.
//!
//! Invariant: a ring that follows the flag of a queue is answered after the flag was set.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{self, Receiver};

use super::batch_queue::BatchQueue;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bell {
    /// The writing end of a pipe. Writing to it never waits.
    pipe: OwnedFd,
    /// The other end. A handle may ring after the runtime has ended, and a write to a pipe
    /// that nobody can read ends a process that does not ignore SIGPIPE.
    _reader: OwnedFd,
    queues: Mutex<Vec<Weak<BatchQueue>>>,
}

impl Bell {
    /// A bell, and its task. The calling thread must have entered a runtime.
    ///
    /// # Errors
    /// The system has no free descriptors.
    pub(crate) fn start() -> io::Result<Arc<Bell>> {
        let (sender, receiver) = pipe::pipe()?;
        let pipe = sender.into_nonblocking_fd()?;
        let reader = receiver.as_fd().try_clone_to_owned()?;
        let bell = Arc::new(Bell { pipe, _reader: reader, queues: Mutex::default() });
        tokio::spawn(Arc::clone(&bell).answer(receiver));
        Ok(bell)
    }

    /// From now on, a ring delivers the wake-ups of this queue, as long as it exists.
    pub(super) fn add(&self, queue: &Arc<BatchQueue>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.len() == queues.capacity() {
            queues.retain(|queue| queue.strong_count() > 0);
        }
        queues.push(Arc::downgrade(queue));
    }

    /// Delivers wake-ups soon. A signal handler may call it.
    pub(super) fn ring(&self) {
        // It only fails if the pipe is full, so the task has not looked yet.
        let _ = rustix::io::write(&self.pipe, &[1]);
    }

    /// Delivers wake-ups whenever the bell rings, until the runtime ends.
    async fn answer(self: Arc<Self>, mut receiver: Receiver) {
        // Many rings are one read. It comes before the queues are looked at, so a ring
        // after that is read next. It sleeps while the pipe is empty.
        while receiver.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {
            self.queues().iter().for_each(|queue| queue.deliver_wakeup());
        }
    }

    fn queues(&self) -> Vec<Arc<BatchQueue>> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_after_the_end_of_the_runtime_does_not_break_the_pipe() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("a runtime");
        let bell = {
            let _entered = runtime.enter();
            Bell::start().expect("descriptors")
        };
        drop(runtime);
        assert_eq!(rustix::io::write(&bell.pipe, &[1]), Ok(1), "not EPIPE, which raises SIGPIPE");
        // Nobody reads it, so it fills up, and a ring does not wait.
        (0..100_000).for_each(|_| bell.ring());
    }
}
