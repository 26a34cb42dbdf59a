//! Tests of the engine through its public interface, on real files.
//!
//! Three groups of tests are separate binaries. `loom` needs a build with the feature `loom`.
//! `simulation` and `model` run thousands of seeds, and one seed repeats a failure. All of them
//! use `support`.
#![allow(clippy::disallowed_methods, reason = "tests inspect real files")]

mod archive;
mod by_hand;
mod closing;
mod cursors;
mod large_records;
mod log;
mod newer_formats;
mod one_record;
mod open_files;
mod open_segments;
mod overlap;
mod producers;
mod read_ahead;
mod reading;
mod replica;
#[path = "../support/mod.rs"]
mod support;
