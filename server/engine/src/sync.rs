//! The locks through which threads hand work to each other: the standard ones, or
//! loom's when [`models`](crate::models) are built.

#[cfg(not(loom))]
mod real {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::atomic::AtomicU64;

    pub(crate) use crate::wait::lock;
}

#[cfg(loom)]
mod real {
    pub(crate) use loom::sync::atomic::AtomicU64;
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// As [`crate::wait::lock`].
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(crate) use real::*;
