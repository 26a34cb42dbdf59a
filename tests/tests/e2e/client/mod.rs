//! The Rust client against a real server.

mod connect;
mod consumer;
mod cursors;
mod fencing;
mod observability;
mod producer;
mod tls;
