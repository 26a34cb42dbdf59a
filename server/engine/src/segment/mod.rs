//! Segments: files that contain only blocks, from byte 0.
//!
//! ```text
//! <base_position, 20 digits>.seg    filler | block | block | … | seal
//! <base_position, 20 digits>.idx    the places of some of its blocks; a cache
//! ```
//!
//! Readers and the writer share a [`Segment`]. [`OpenSegments`] keeps the files of recently read
//! segments open. [`walk`] reads a file block by block and checks each one. [`index`] finds a
//! block by position, time or offset. [`resync`] finds the first readable block after damage.
//! [`age`] knows how old a segment is. [`archived`] knows whether its bytes are on the disk.
//! [`rereads`] knows which parts many readers read. Invariant: a sealed segment never changes.

mod age;
mod archived;
mod files;
pub(crate) mod index;
pub(crate) mod name;
mod open_segments;
mod rereads;
pub(crate) mod resync;
mod sealed;
mod shared;
pub(crate) mod walk;

pub(crate) use age::Now;
pub use archived::Place;
pub(crate) use open_segments::OpenSegments;
pub(crate) use sealed::Sealed;
pub(crate) use shared::Segment;
