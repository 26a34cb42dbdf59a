//! Converts data of Styx 0.x to logs of this version.
//!
//! ```text
//! tar entries ─▶ archive ───┐
//!                           ├─▶ conversion ─▶ records ─▶ rewrite ─▶ segments
//! files ─▶ directory ───────┘       └ config, name
//!            ▲
//!          import: all logs of a data directory
//! ```
//!
//! No input is trusted. The checksum of every record is checked, and positions, offsets and names
//! must agree across all segments. The result is verified like any restored log. Invariant: the
//! source is never changed. docs/format.md describes the bytes.

mod archive;
mod config;
mod conversion;
mod directory;
mod error;
mod import;
mod name;
mod records;

#[cfg(test)]
mod tests;

pub(crate) use archive::{Archive, REPACK, is_segment};
pub(crate) use directory::is_log;
pub use import::{ImportReport, LogImport, Outcome, import};
pub(crate) use name::CONFIG;
