//! The other end of a connection: whether it is alive, how fast it is, and how
//! to close the connection without losing what was sent.
//!
//! ```text
//! tcp        is the peer's kernel still there?          every protocol
//! ping       is the peer's program still there?         WebSocket
//! heartbeat  is the peer's program still there?         styx/0, styx/1
//! rate       does it send or read fast enough?          HTTP, WebSocket, styx/0, styx/1
//! close      final bytes, FIN, read until it closes     WebSocket, styx/0, styx/1
//! half_close has it closed its sending side?            long polls and events of HTTP/1.1
//! ```
//!
//! Nothing here knows a protocol: each front end decides what an event means.

mod close;
mod half_close;
mod heartbeat;
mod ping;
mod rate;
mod tcp;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use close::{CloseLimits, close};
pub(crate) use half_close::{HalfClose, HalfCloseWatch};
pub(crate) use heartbeat::{HeartbeatEvent, HeartbeatTimeouts, HeartbeatTimer};
pub(crate) use ping::{PingEvent, PingTimer};
pub(crate) use rate::{MinimumRate, Verdict};
pub(crate) use tcp::{TcpLiveness, enable_keep_alive, is_gone};
