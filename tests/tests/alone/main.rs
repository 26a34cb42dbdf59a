//! Tests that must not share the machine with busy tests. Cargo runs test binaries one
//! after the other. Every test of this one begins with `let _alone = alone();` if it
//! is busy, or with `let _idle = beside_idle_tests();` if it mostly waits. Tests that
//! wait run beside each other, because a core is always free for each of them.
//!
//! | module | why it must not share the machine |
//! |---|---|
//! | [`benchmark`] | uses every core |
//! | [`compare`] | uses every core |
//! | [`connections`] | opens up to 10,000 connections and raises the limit of open files |
//! | [`overload`] | needs senders that keep their pace; some tests fill large logs |
//! | [`large_record_memory`] | measures the memory of a server, and the release binary |
//! | [`half_open`] | mostly waits; allows the server no more than `tcp_timeout` |
//! | [`styx1_memory`] | mostly waits; allows the server one second |
//! | [`websocket_liveness`] | mostly waits; allows an append two seconds, and a ping less |

mod benchmark;
mod compare;
mod connections;
mod half_open;
mod large_record_memory;
mod overload;
mod styx1_memory;
mod websocket_liveness;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static RUNNING: RwLock<()> = RwLock::new(());

/// Waits until no other test of this binary runs, and keeps the others waiting until
/// the guard is dropped.
fn alone() -> RwLockWriteGuard<'static, ()> {
    RUNNING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until only tests run that mostly wait, and keeps busy ones waiting until the
/// guard is dropped.
fn beside_idle_tests() -> RwLockReadGuard<'static, ()> {
    RUNNING.read().unwrap_or_else(PoisonError::into_inner)
}
