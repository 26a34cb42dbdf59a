//! The engine through its public interface, on real files.
//!
//! Three groups of tests are binaries of their own: `loom` needs a build with
//! `--cfg loom`; `simulation` and `model` run thousands of seeds and are repeated by
//! seed. All of them share `support`.
#![allow(clippy::disallowed_methods, reason = "a test looks at real files")]

mod log;
mod open_segments;
mod overlap;
mod producers;
mod reading;
#[path = "../support/mod.rs"]
mod support;
