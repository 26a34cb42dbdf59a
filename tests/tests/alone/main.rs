//! Tests that must not share the machine. Cargo runs test binaries one after the
//! other, and every test of this one begins with `let _alone = alone();`.
//!
//! | module | why it runs alone |
//! |---|---|
//! | [`benchmark`] | uses every core |
//! | [`connections`] | opens up to 10,000 connections and raises the limit of open files |
//! | [`overload`] | needs senders that keep their pace |
//! | [`large_record_memory`] | needs 200 MB for a record, and the release binary |
//! | [`half_open`] | allows the server no more than `tcp_timeout` |
//! | [`styx1_memory`] | allows the server one second |
//! | [`websocket_liveness`] | allows an append two seconds, and a ping less |

mod benchmark;
mod connections;
mod half_open;
mod large_record_memory;
mod overload;
mod styx1_memory;
mod websocket_liveness;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test of this binary runs, and keeps the others waiting until
/// the guard is dropped.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
