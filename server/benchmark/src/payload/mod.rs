//! The payloads that producers write. Each payload contains the identity of its record,
//! so that wrong records are noticed when they are read back. Making one costs little
//! while the clock runs.
//!
//! ```text
//! Templates ─┬─▶ RecordGenerator  one producer's records in order, ready for the wire
//!            └─▶ RecordChecker    compares records that were read with the templates
//!
//! random  producer: u16 | index: u64 | noise…     little-endian; incompressible
//! json    {"id":"0123456789abcdef","producer":"0123",…}   an event of a web shop
//! ```
//! A record is a template into which its producer and its index are stamped. The
//! templates repeat; the stamps never do.

mod checker;
mod generator;
mod stamp;
mod templates;

use std::fmt;

pub(super) use checker::RecordChecker;
pub(super) use generator::{Framing, RecordGenerator};
pub(super) use stamp::Stamp;
pub(super) use templates::Templates;

/// What payloads look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// Incompressible bytes of this length, at least 10.
    Random(usize),
    /// JSON lines of about 210 bytes.
    Json,
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadKind::Random(bytes) if *bytes >= 1000 && bytes % 1000 == 0 => {
                write!(f, "{} kB", bytes / 1000)
            }
            PayloadKind::Random(bytes) => write!(f, "{bytes} B"),
            PayloadKind::Json => f.write_str("JSON"),
        }
    }
}
