//! [`Process`] detects forked children. [`ForgetInChild`] is a value that is not dropped
//! in one.
//!
//! A forked child has a copy of everything except the client's threads. A lock that one
//! of them held during the fork stays locked in the child for ever. So a call in the child
//! fails, and a drop that would take a lock, or wake a task, does nothing. What it would
//! have freed stays allocated until the child ends.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{Error, Kind};

/// A process, to detect forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The current process. Costs one system call, and may be called in a signal handler.
    pub(crate) fn current() -> Process {
        Process(std::process::id())
    }

    /// Whether this is still the current process, and not a forked child of it. Costs as
    /// much as [`current`](Self::current).
    pub(crate) fn is_current(self) -> bool {
        self == Process::current()
    }

    /// Checks that this is still the current process. Costs as much as
    /// [`current`](Self::current).
    ///
    /// # Errors
    /// [`Kind::Forked`] in a forked child.
    pub(crate) fn check(self) -> Result<(), Error> {
        let current = Process::current();
        if self == current {
            return Ok(());
        }
        Err(Error::new(
            Kind::Forked,
            format!(
                "this client belongs to process {}, but this is its forked child {}: create a new \
                 client after the fork",
                self.0, current.0
            ),
        ))
    }

    /// A process other than the current one, as a forked child sees its parent.
    #[cfg(test)]
    pub(crate) fn of_a_parent() -> Process {
        Process(Process::current().0 + 1)
    }
}

/// A value whose drop takes a lock or wakes a task. In a forked child it is forgotten
/// instead of dropped.
///
/// If the value is a future, this is the same future.
pub(crate) struct ForgetInChild<T> {
    process: Process,
    /// Taken out when this is dropped.
    value: Option<T>,
}

const NOT_TAKEN: &str = "only drop takes the value out";

impl<T> ForgetInChild<T> {
    /// A value that belongs to `process`.
    pub(crate) fn new(process: Process, value: T) -> ForgetInChild<T> {
        ForgetInChild { process, value: Some(value) }
    }

    /// Whether this is a forked child of the value's process.
    pub(crate) fn is_in_child(&self) -> bool {
        !self.process.is_current()
    }
}

impl<F: Future> ForgetInChild<Pin<Box<F>>> {
    /// A future that belongs to `process`.
    pub(crate) fn future(process: Process, future: F) -> ForgetInChild<Pin<Box<F>>> {
        ForgetInChild::new(process, Box::pin(future))
    }
}

impl<T: Clone> Clone for ForgetInChild<T> {
    fn clone(&self) -> ForgetInChild<T> {
        ForgetInChild { process: self.process, value: self.value.clone() }
    }
}

impl<T> Drop for ForgetInChild<T> {
    fn drop(&mut self) {
        if self.value.is_some() && self.is_in_child() {
            std::mem::forget(self.value.take());
        }
    }
}

impl<T> Deref for ForgetInChild<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect(NOT_TAKEN)
    }
}

impl<T> DerefMut for ForgetInChild<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect(NOT_TAKEN)
    }
}

impl<F: Future + Unpin> Future for ForgetInChild<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut **self.get_mut()).poll(context)
    }
}

impl<T: fmt::Debug> fmt::Debug for ForgetInChild<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn forked_child_gets_an_error() {
        assert!(Process::current().check().is_ok());
        let error = Process::of_a_parent().check().expect_err("another process");
        assert_eq!((error.kind(), error.is_retriable()), (Kind::Forked, false));
    }

    #[test]
    fn value_is_dropped_only_in_its_own_process() {
        let value = Arc::new(());
        for (process, left) in [(Process::current(), 1), (Process::of_a_parent(), 2)] {
            drop(ForgetInChild::new(process, Arc::clone(&value)));
            assert_eq!(Arc::strong_count(&value), left);
        }
    }
}
