//! The archive: finished segments of logs in an object store.
//!
//! ```text
//! engine: a segment is sealed ─ notice ─▶ upload ─▶ store: .seg .idx .producers
//!                                          │ register: manifest, replaced by compare-and-set
//!                                          ▼
//!                      engine: record_archived ─▶ the segment may be evicted
//! engine: read of an evicted segment ─ Depot ─▶ fetch ─▶ cache (slots of one file) ◀─ store
//! ```
//!
//! Invariant: a segment counts as archived only after a manifest that names it was written by
//! compare-and-set. No clock, lease or listing decides anything about safety.

pub mod adopt;
mod archiver;
pub mod back_off;
pub mod check;
pub mod collect;
pub mod copy;
pub mod download;
pub mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod keys;
pub mod manifest;
mod offline;
pub mod probe;
mod random;
pub mod register;
mod replica;
pub mod restore;
mod sabotage;
pub mod selection;
pub mod status;
pub mod store;
mod succession;
pub mod undelete;
pub mod verify;
pub mod which;

pub use archiver::{Archiver, LogStatus, Probe, Scrubbed, Settings, Stats};
pub use offline::{Progress, Tell};
pub use replica::{Replica, ReplicaSettings, ReplicaStats};
