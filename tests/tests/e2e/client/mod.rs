//! The Rust client against a real server.

mod consumer;
mod cursors;
mod fencing;
mod producer;
mod tls;
