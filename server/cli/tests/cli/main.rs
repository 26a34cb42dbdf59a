//! The binary from outside, against a server of canned answers: what it asks,
//! what it prints, how it ends. What a real server does with it is tested in
//! the `tests` crate.

mod commands;
mod support;
