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

pub mod back_off;
pub mod probe;
pub mod register;
mod sabotage;
pub mod store;
