//! The Rust client against a real server.

mod connect;
mod consumer;
mod fencing;
mod producer;
mod tls;
