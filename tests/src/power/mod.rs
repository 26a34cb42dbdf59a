//! Power cuts on real filesystems.
//!
//! ```text
//! image file ─loop─▶ ext4 or XFS ─mount─▶ <scratch>/data ─▶ the server's data
//!                         ▲
//!        FS_IOC_SHUTDOWN without a flush: what was not synced is gone
//! ```
//!
//! A [`LoopDisk`] is such a filesystem; the [`Cutter`] cuts its power, and can
//! push pages to it before, out of their order. Both need root and a loop device;
//! where they are missing, [`LoopDisk::make`] says so and the test is skipped.

mod cutter;
mod disk;

pub use cutter::Cutter;
pub use disk::{Filesystem, LoopDisk};
