//! From a queued append to its answer.
//!
//! ```text
//! Queue ──take──▶ Plan (blocks in one buffer) ──write──sync──▶ Tail ──▶ answers
//!          one committer thread has the log in its hands at a time
//! ```
//!
//! Natural group commit: what arrives while a group is being written is the next
//! group; there is no timer. [`end`] owns the mutable end of the log, [`plan`]
//! decides what becomes of each request, [`build`] makes the blocks, [`buffer_pool`] lends the
//! memory and [`pool`] the threads, [`keeper`] does what is due later (watermark,
//! retention).

pub(crate) mod buffer_pool;
pub(crate) mod build;
pub(crate) mod end;
pub(crate) mod keeper;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod roll;
