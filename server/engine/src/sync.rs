//! The engine's locks: the standard ones, and those that loom can replace.

use std::sync::PoisonError;

/// Locks a mutex, also after a thread panicked while it held the lock.
///
/// This is safe because every guarded value is valid between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The locks through which threads hand work to each other. They are the standard
/// ones, or loom's when [`models`](crate::models) is compiled.
#[cfg(not(feature = "loom"))]
pub(crate) mod handoff {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::atomic::AtomicU64;

    pub(crate) use super::lock;
}

/// The same names for loom, which controls the order of the threads' steps.
#[cfg(feature = "loom")]
pub(crate) mod handoff {
    pub(crate) use loom::sync::atomic::AtomicU64;
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// As [`lock`](super::lock).
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
