//! Data of Styx 0.x, made into logs of ours.
//!
//! ```text
//! tar entries ─▶ archive ───┐
//!                           ├─▶ conversion ─▶ records ─▶ rewrite ─▶ our segments
//! files ─▶ directory ───────┘       └ config, name
//!            ▲
//!          import: a whole data directory, log by log
//! ```
//!
//! Nothing of what is read is trusted: every record's checksum, the density of
//! positions and offsets over all segments, and the names are held against each
//! other, and what comes out is verified as any restored log is. The source is
//! only ever read. docs/format.md describes the bytes.

mod archive;
mod config;
mod conversion;
mod directory;
mod import;
mod name;
mod records;

#[cfg(test)]
mod tests;

pub(crate) use archive::Archive;
pub(crate) use directory::is_log;
pub use import::{LogReport, Outcome, Report, import};
pub(crate) use name::CONFIG;
