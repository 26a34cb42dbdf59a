//! styx/1, frame by frame.

mod consumer;
mod handshake;
mod liveness;
mod producer;
mod producer_ids;
