//! The binary protocols: styx/0 for clients of old, styx/1 for everyone who
//! wants speed. docs/protocol.md has their bytes.
//!
//! ```text
//! socket ─▶ decoder ─▶ session::Pipeline ─▶ acks ─▶ socket      a producer's
//! socket ◀─ blocks or records ◀─ session::RecordReader               a consumer's
//! ```
//!
//! Each connection is one task. What both protocols share stands here: the
//! time-outs of a handshake and the heartbeats that follow from them, and what a
//! producer may keep of the memory that is for all.

mod intake;
mod timeouts;
mod v0;
mod v1;

use crate::handover::FrontEnd;

/// Those who speak these protocols.
pub(crate) fn front_ends() -> Vec<Box<dyn FrontEnd>> {
    vec![Box::new(v1::Styx1), Box::new(v0::Styx0)]
}
