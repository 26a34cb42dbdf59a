//! styx/0, message by message.

mod bad_peers;
mod compatibility;
mod consumer;
mod handshake;
mod producer;
