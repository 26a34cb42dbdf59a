//! The Rust client against a real server.

mod consumer;
mod fencing;
mod producer;
mod tls;
