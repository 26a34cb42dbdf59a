//! One segment: a file that contains only blocks, from byte 0.
//!
//! ```text
//! <base_position, 20 digits>.seg    filler | block | block | … | seal
//! <base_position, 20 digits>.idx    where some of its blocks begin; a cache
//! ```
//!
//! [`Segment`] is what readers share. [`OpenSegments`] keeps the files of recently read
//! segments open. [`walk`] goes through a file and checks every block, [`index`] finds a block
//! by position or time, and [`resync`] finds the first readable block after damage.

mod files;
pub(crate) mod index;
pub(crate) mod name;
mod open_segments;
pub(crate) mod resync;
mod sealed;
mod shared;
pub(crate) mod walk;

pub(crate) use open_segments::OpenSegments;
pub(crate) use sealed::Sealed;
pub(crate) use shared::Segment;
