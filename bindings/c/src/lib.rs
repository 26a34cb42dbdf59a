//! libstyx: the client core for C, and for every language that can call C.
//!
//! `include/styx.h` is generated from this crate. Its comments are those of the functions here,
//! so they are written for the reader of that header.
//!
//! | module | content |
//! |---|---|
//! | `pointer` | pointers of the caller: checked, and made safe references of |
//! | `error`, `codes` | `styx_error`, and how a function of C fails |
//! | `fork` | forked children |
//! | `options` | options by key and value |
//! | `client`, `logs`, `cursors`, `archive`, `events` | a client and its calls |
//! | `producer` | appending |
//! | `consumer`, `batch` | reading |
//! | `stats`, `version` | numbers |
//!
//! Invariants: no panic leaves a function; no function keeps a pointer of the caller; a NULL that
//! is not allowed is an error and never read.
#![allow(non_camel_case_types, reason = "the names in C")]
#![allow(unreachable_pub, reason = "exported to C, not to Rust")]

mod archive;
mod batch;
mod client;
mod codes;
mod consumer;
mod cursors;
mod error;
mod events;
mod fork;
mod logs;
mod options;
mod pointer;
mod producer;
mod stats;
mod version;
