//! The native module of the Node.js package: the client core for JavaScript.
//!
//! It has no logic beyond what the border needs. The public classes are written in TypeScript
//! (`lib/`), and say there what they guarantee. It consists of functions on opaque handles,
//! without classes, because some runtimes besides Node.js cannot release those.
//!
//! | module | content |
//! |---|---|
//! | `hub` | how JavaScript learns that a call is done |
//! | `client`, `request`, `archive` | calls |
//! | `producer` | appending |
//! | `consumer`, `batch` | reading |
//! | `errors`, `tables` | values |
//! | `ffi` | memory that JavaScript and Rust share: the unsafe code |
//!
//! Invariants: no function waits; no thread of the core runs JavaScript or touches an object of
//! it; libuv is not used.
// The macro `napi` makes public functions of private modules, and C functions of them.
#![expect(unreachable_pub, reason = "exported to JavaScript, not to Rust")]

mod archive;
mod batch;
mod client;
mod consumer;
mod errors;
mod ffi;
mod hub;
mod producer;
mod request;
mod tables;
