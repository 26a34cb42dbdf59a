//! The binary against a fake server with canned responses: what it sends, what it prints,
//! and its exit code. The `tests` crate tests it with a real server.

mod commands;
mod over_http;
mod support;
