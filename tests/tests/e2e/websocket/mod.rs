//! WebSocket: handshake, reading, writing, and peers that break the rules.

mod bad_peers;
mod reader;
mod writer;
