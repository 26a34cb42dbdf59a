//! Why a log of 0.x was not converted.

use std::io;

use styx_protocol::Position;

use crate::Error;

/// A damaged place in a 0.x log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// The name of the file.
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) position: Position,
    pub(super) message: String,
}

/// See the module.
#[derive(Debug)]
pub(super) enum ConversionError {
    Damaged(Damage),
    /// The source ended or failed at this place.
    Unreadable(Damage, io::Error),
    /// The log is not damaged, but cannot be converted now.
    Refused(String),
    /// The engine failed.
    Error(Error),
}

impl From<Error> for ConversionError {
    fn from(error: Error) -> ConversionError {
        ConversionError::Error(error)
    }
}
