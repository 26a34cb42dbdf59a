//! One segment: a file that holds blocks and nothing else, from byte 0.
//!
//! ```text
//! <base_position, 20 digits>.seg    filler | block | block | … | seal
//! <base_position, 20 digits>.idx    where some of its blocks begin; a cache
//! ```
//!
//! [`Segment`] is what readers share; [`OpenSegments`] keeps those open that are
//! read; [`walk`] goes through a file and judges every block; [`index`] finds a block
//! by position or time.

mod files;
pub(crate) mod index;
pub(crate) mod name;
mod open_segments;
pub(crate) mod resume;
mod sealed;
mod shared;
pub(crate) mod walk;

pub(crate) use open_segments::OpenSegments;
pub(crate) use sealed::Sealed;
pub(crate) use shared::Segment;
