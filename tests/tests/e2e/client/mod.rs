//! The Rust client against a real server.

mod connect;
mod consumer;
mod cursors;
mod fencing;
mod like_a_binding;
mod observability;
mod producer;
mod tls;
