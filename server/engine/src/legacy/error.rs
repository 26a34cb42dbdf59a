//! [`ConversionError`]: why a 0.x log was not converted.
//!
//! The callers translate it: [`archive`](super::archive) to an error of a restore,
//! [`import`](mod@super::import) to the outcome of one log. Damage always includes file, offset and
//! position.

use std::io;

use styx_protocol::Position;

use crate::Error;

/// A damaged place in a 0.x log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// The name of the file.
    pub(super) file: String,
    /// The offset in the file, in bytes.
    pub(super) offset: u64,
    /// The position of the record at this place.
    pub(super) position: Position,
    pub(super) message: String,
}

/// Why a log was not converted.
#[derive(Debug)]
pub(super) enum ConversionError {
    /// The content of the source is invalid at this place.
    Damaged(Damage),
    /// The source could not be read at this place, or it ended there.
    Unreadable(Damage, io::Error),
    /// The log is not damaged, but cannot be converted now.
    Refused(String),
    /// The engine failed, for example because the disk is full.
    Error(Error),
}

impl From<Error> for ConversionError {
    fn from(error: Error) -> ConversionError {
        ConversionError::Error(error)
    }
}
