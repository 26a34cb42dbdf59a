//! What the producers write: payloads that say which record they are, so that
//! reading back can tell a wrong one from a right one, and that cost next to
//! nothing to make while the clock runs.
//!
//! ```text
//! Templates ─┬─▶ Maker     one producer's records in order, ready for the wire
//!            └─▶ Checker   holds what was read against what makers made
//!
//! random  producer: u16 | index: u64 | noise…     little-endian; incompressible
//! json    {"id":"0123456789abcdef","producer":"0123",…}   an event of a web shop
//! ```
//! A record is a template with its producer and its index stamped in. The
//! templates come again and again in a circle; the stamp never does.

mod checker;
mod maker;
mod stamp;
mod templates;

use std::fmt;

pub(super) use checker::Checker;
pub(super) use maker::{Framing, Maker};
pub(super) use stamp::Stamp;
pub(super) use templates::Templates;

/// What payloads look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many bytes, at least [`Stamp::RANDOM_BYTES`].
    Random(usize),
    /// Lines of some 250 bytes.
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Random(bytes) if *bytes >= 1000 && bytes % 1000 == 0 => {
                write!(f, "{} kB", bytes / 1000)
            }
            Kind::Random(bytes) => write!(f, "{bytes} B"),
            Kind::Json => f.write_str("JSON"),
        }
    }
}
