//! The binary protocols: styx/0 for the first clients, styx/1 for speed.
//! docs/protocol.md describes their bytes.
//!
//! ```text
//! socket ─▶ decoder ─▶ session::Pipeline ─▶ acks ─▶ socket      producer
//! socket ◀─ blocks or records ◀─ session reader                 consumer
//! ```
//!
//! Each connection is one task. Both protocols share the timeouts of a handshake
//! and the decision when a producer's socket is read.

mod intake;
mod timeouts;
mod v0;
mod v1;

use crate::handover::FrontEnd;

/// The front ends of these protocols.
pub(crate) fn front_ends() -> Vec<Box<dyn FrontEnd>> {
    vec![Box::new(v1::Styx1), Box::new(v0::Styx0)]
}
