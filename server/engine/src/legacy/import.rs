//! A whole data directory of 0.x, copied log by log into one of ours.
//!
//! ```text
//! DIR/orders ─▶ NEW/.restoring-… ─▶ verified, synced ─▶ NEW/orders
//! ```
//!
//! Invariant: a log is copied whole or not at all, whatever becomes of the
//! others; the source is not touched; a log that is there is not touched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::{LogId, LogName, Position};

use super::conversion::{Damage, Failed};
use super::directory::{self, Files};
use crate::storage::Storage;
use crate::verify::{Problem, Progress};
use crate::{Error, Options, opening, random, restore};

/// What became of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, whole.
    Imported {
        /// Position of its first record.
        start: Position,
        /// Position after its last record.
        end: Position,
        /// What is not quite as it was.
        notes: Vec<String>,
    },
    /// It is damaged; nothing of it was imported.
    Damaged(Problem),
    /// It was not looked at, and why.
    Refused(String),
}

/// One log of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Its name.
    pub name: String,
    /// Bytes of its records in the source.
    pub bytes: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of every log that was asked for, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The logs.
    pub logs: Vec<LogReport>,
}

impl Report {
    /// How many logs were not imported.
    #[must_use]
    pub fn left(&self) -> usize {
        let imported = |log: &&LogReport| matches!(log.outcome, Outcome::Imported { .. });
        self.logs.len() - self.logs.iter().filter(imported).count()
    }
}

/// Copies the logs of a 0.x data directory that no server uses into the one of
/// `target`, which is created if it is not there and must not be in use; `only`
/// those named, unless that is empty. Blocks.
///
/// # Errors
/// The source is no data directory of 0.x or lacks a log that was named; the
/// target is in use or cannot be written. Logs that were imported before that
/// stay. A damaged log is no error: it is in the report.
pub fn import(
    source: &Path,
    target: &Options,
    only: &[LogName],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, Error> {
    let storage = &target.storage;
    let names = logs_of(&**storage, source, only)?;
    let data = &target.data_directory;
    keep_apart(source, data)?;
    opening::create_directory(&**storage, data)?;
    opening::list_logs(&**storage, data)?;
    let _lock = opening::lock_directory(&**storage, data)?;
    opening::remove_leftovers(&**storage, data)?;

    let bytes = |name: &String| Files::list(&**storage, &source.join(name)).map_or(0, |f| f.bytes);
    let sizes: Vec<u64> = names.iter().map(bytes).collect();
    let bytes_total = sizes.iter().sum();
    let mut before = 0;
    let mut report = Report::default();
    for (name, bytes) in names.into_iter().zip(sizes) {
        let mut tell = |read: u64| {
            progress(Progress { log: &name, bytes_done: before + read, bytes_total });
        };
        let outcome = import_log(storage, &source.join(&name), data, &name, target, &mut tell)?;
        report.logs.push(LogReport { name, bytes, outcome });
        before += bytes;
    }
    Ok(report)
}

/// Imports one log, unless it is damaged or cannot have its name here.
fn import_log(
    storage: &Arc<dyn Storage>,
    from: &Path,
    data: &Path,
    name: &str,
    target: &Options,
    tell: &mut dyn FnMut(u64),
) -> Result<Outcome, Error> {
    if let Err(error) = name.parse::<LogName>() {
        return Ok(Outcome::Refused(error.to_string()));
    }
    let taken = storage.list(data).map_err(Error::io("cannot list", data))?;
    if taken.iter().any(|entry| entry.name == name) {
        let message = format!("a log of that name exists already in {}", data.display());
        return Ok(Outcome::Refused(message));
    }
    let drawn = || Ok::<_, io::Error>((random::u64()?, LogId(random::u128()?)));
    let (number, id) = drawn().map_err(Error::io("cannot draw an id in", data))?;
    let temporary = data.join(format!("{}{number:016x}", opening::RESTORING));
    let mut converted = None;
    let placed = restore::place(&**storage, &temporary, &data.join(name), || {
        let now_us = target.clock.wall_us();
        converted = Some(directory::convert(storage, from, &temporary, id, now_us, tell)?);
        Ok(())
    });
    match (placed, converted) {
        (Ok(()), Some(directory::Converted { start, end, notes })) => {
            Ok(Outcome::Imported { start, end, notes })
        }
        (Ok(()), None) => Ok(Outcome::Refused("it was not read".into())),
        (Err(Failed::Damaged(damage) | Failed::Unreadable(damage, _)), _) => {
            let Damage { file, offset, position, message } = damage;
            Ok(Outcome::Damaged(Problem { file: from.join(file), offset, position, message }))
        }
        (Err(Failed::Refused(message)), _) => Ok(Outcome::Refused(message)),
        (Err(Failed::Error(error)), _) => Err(error),
    }
}

/// The names of the logs to import, sorted.
fn logs_of(storage: &dyn Storage, source: &Path, only: &[LogName]) -> Result<Vec<String>, Error> {
    let entries = storage.list(source).map_err(Error::io("cannot list", source))?;
    if directory::is_log(&entries) {
        return Err(unfit(source, "is a single log of Styx 0.x: name the directory above it"));
    }
    let mut names = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let path = source.join(&entry.name);
        let inside = storage.list(&path).map_err(Error::io("cannot list", path))?;
        if directory::is_log(&inside) {
            names.push(entry.name);
        }
    }
    if names.is_empty() {
        return Err(unfit(source, "has no logs of Styx 0.x"));
    }
    for name in only {
        if !names.iter().any(|found| found == name.as_str()) {
            return Err(unfit(source, &format!("has no log {name} of Styx 0.x")));
        }
    }
    names.retain(|name| only.is_empty() || only.iter().any(|wanted| wanted.as_str() == name));
    names.sort_unstable();
    Ok(names)
}

/// Nothing may be created within the source.
fn keep_apart(source: &Path, data: &Path) -> Result<(), Error> {
    let absolute = |path: &Path| -> Result<PathBuf, Error> {
        std::path::absolute(path).map_err(Error::io("cannot find", path))
    };
    if absolute(data)?.starts_with(absolute(source)?) {
        return Err(unfit(data, "is within the directory to import, which is left untouched"));
    }
    Ok(())
}

fn unfit(path: &Path, what: &str) -> Error {
    Error::DataDirectory { message: format!("{} {what}", path.display()) }
}
