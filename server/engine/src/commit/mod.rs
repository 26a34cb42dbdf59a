//! From a queued append to its acknowledgement.
//!
//! ```text
//! Queue ──take──▶ Plan (blocks in one buffer) ──write──sync──▶ Tail ──▶ results
//!          the committer: one thread at a time writes to a log
//! ```
//!
//! Group commit without a timer: the requests that arrive while a group is being written form
//! the next group.
//!
//! - [`queue`] holds the requests that wait.
//! - [`plan`] decides the result of each request, and [`group_builder`] builds the blocks.
//! - [`committer`] writes and syncs a group, publishes it and delivers the results.
//! - [`log_end`] holds the mutable end of the log, [`space`] prepares the file in front of it,
//!   and [`roll`] starts the next segment.
//! - [`buffer_pool`] provides the memory and [`thread_pool`] the threads.

pub(crate) mod buffer_pool;
mod committer;
pub(crate) mod failure;
pub(crate) mod group_builder;
pub(crate) mod liveness;
pub(crate) mod log_end;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod roll;
pub(crate) mod space;
pub(crate) mod thread_pool;
mod write;
