//! Power cuts on real filesystems.
//!
//! ```text
//! image file ─loop─▶ ext4 or XFS ─mount─▶ <scratch>/data ─▶ the server's data
//!                         ▲
//!        FS_IOC_SHUTDOWN without a flush: unsynced data is lost
//! ```
//!
//! A [`LoopDisk`] is such a filesystem. The [`Cutter`] cuts its power, and before that can write
//! pages to it out of order. Both need root and a loop device. Without them
//! [`LoopDisk::make`] returns an error and the test is skipped.

mod cutter;
mod disk;

pub use cutter::Cutter;
pub use disk::{Filesystem, LoopDisk};
