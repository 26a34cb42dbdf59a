//! Imports the logs of a 0.x data directory, one at a time.
//!
//! ```text
//! DIR/orders ─▶ NEW/.restoring-… ─▶ verified, synced ─▶ NEW/orders
//! ```
//!
//! Invariant: each log is imported completely or not at all, independently of the other logs.
//! Neither the source nor an existing log is changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::{LogId, LogName, Position};

use super::directory::{self, LegacyFiles};
use super::error::{ConversionError, Damage};
use crate::storage::Storage;
use crate::verify::{Problem, Progress};
use crate::{Error, Options, data_directory, random, restore};

/// The result for one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The log was imported completely.
    Imported {
        /// The position of its first record.
        start: Position,
        /// The position after its last record.
        end: Position,
        /// How the new log differs from the source, one message for each difference.
        notes: Vec<String>,
    },
    /// The log is damaged, so none of it was imported.
    Damaged(Problem),
    /// The log was not imported, for this reason.
    Refused(String),
}

/// One log of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogImport {
    /// Its name.
    pub name: String,
    /// The size of its records files in the source, in bytes.
    pub bytes: u64,
    /// The result.
    pub outcome: Outcome,
}

/// The result for every requested log, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// One entry for each log.
    pub logs: Vec<LogImport>,
}

impl ImportReport {
    /// The number of logs that were not imported.
    #[must_use]
    pub fn left(&self) -> usize {
        let imported = |log: &&LogImport| matches!(log.outcome, Outcome::Imported { .. });
        self.logs.len() - self.logs.iter().filter(imported).count()
    }
}

/// Copies the logs of a 0.x data directory to the data directory of `target`, which is created if
/// it does not exist. No server may use either directory. If `only` is not empty, copies only the
/// named logs. Blocks the calling thread. Calls `progress` after each read.
///
/// # Errors
/// Fails if the source is not a 0.x data directory or lacks a named log, or if the target is in
/// use or cannot be written. Logs that were imported before the error are kept. A damaged log is
/// not an error; the report contains it.
pub fn import(
    source: &Path,
    target: &Options,
    only: &[LogName],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<ImportReport, Error> {
    let storage = &target.storage;
    let names = logs_of(&**storage, source, only)?;
    let data = &target.data_directory;
    check_target_is_outside(source, data)?;
    data_directory::create_directory(&**storage, data)?;
    data_directory::list_logs(&**storage, data)?;
    let _lock = data_directory::lock_directory(&**storage, data)?;
    data_directory::remove_leftovers(&**storage, data)?;

    let bytes =
        |name: &String| LegacyFiles::list(&**storage, &source.join(name)).map_or(0, |f| f.bytes);
    let sizes: Vec<u64> = names.iter().map(bytes).collect();
    let bytes_total = sizes.iter().sum();
    let mut before = 0;
    let mut report = ImportReport::default();
    for (name, bytes) in names.into_iter().zip(sizes) {
        let mut on_read = |read: u64| {
            progress(Progress { log: &name, bytes_done: before + read, bytes_total });
        };
        let outcome = import_log(storage, &source.join(&name), data, &name, target, &mut on_read)?;
        report.logs.push(LogImport { name, bytes, outcome });
        before += bytes;
    }
    Ok(report)
}

/// Imports one log, unless it is damaged or its name cannot be used.
fn import_log(
    storage: &Arc<dyn Storage>,
    from: &Path,
    data: &Path,
    name: &str,
    target: &Options,
    on_read: &mut dyn FnMut(u64),
) -> Result<Outcome, Error> {
    if let Err(error) = name.parse::<LogName>() {
        return Ok(Outcome::Refused(error.to_string()));
    }
    let taken = storage.list(data).map_err(Error::io("cannot list", data))?;
    if taken.iter().any(|entry| entry.name == name) {
        let message = format!(
            "a log with this name already exists in {}: import into another data directory, or delete the existing log",
            data.display()
        );
        return Ok(Outcome::Refused(message));
    }
    let random_ids = || Ok::<_, io::Error>((random::u64()?, LogId(random::u128()?)));
    let (number, id) = random_ids().map_err(Error::io("cannot create an id in", data))?;
    let temporary = data.join(format!("{}{number:016x}", data_directory::RESTORING));
    let mut converted = None;
    let placed = restore::place(&**storage, &temporary, &data.join(name), || {
        let now_us = target.clock.wall_us();
        converted = Some(directory::convert(storage, from, &temporary, id, now_us, on_read)?);
        Ok(())
    });
    match (placed, converted) {
        (Ok(()), Some(directory::Converted { start, end, notes })) => {
            Ok(Outcome::Imported { start, end, notes })
        }
        (Ok(()), None) => Ok(Outcome::Refused("the log was not read: import it again".into())),
        (Err(ConversionError::Damaged(damage) | ConversionError::Unreadable(damage, _)), _) => {
            let Damage { file, offset, position, message } = damage;
            Ok(Outcome::Damaged(Problem { file: from.join(file), offset, position, message }))
        }
        (Err(ConversionError::Refused(message)), _) => Ok(Outcome::Refused(message)),
        (Err(ConversionError::Error(error @ Error::NameTaken { .. })), _) => {
            Ok(Outcome::Refused(error.to_string()))
        }
        (Err(ConversionError::Error(error)), _) => Err(error),
    }
}

/// The names of the logs to import, sorted.
fn logs_of(storage: &dyn Storage, source: &Path, only: &[LogName]) -> Result<Vec<String>, Error> {
    let entries = storage.list(source).map_err(Error::io("cannot list", source))?;
    if directory::is_log(&entries) {
        return Err(unsuitable(
            source,
            "is a single log of Styx 0.x: import the directory that contains it",
        ));
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
        return Err(unsuitable(source, "contains no logs of Styx 0.x"));
    }
    for name in only {
        if !names.iter().any(|found| found == name.as_str()) {
            return Err(unsuitable(source, &format!("contains no log {name} of Styx 0.x")));
        }
    }
    names.retain(|name| only.is_empty() || only.iter().any(|wanted| wanted.as_str() == name));
    names.sort_unstable();
    Ok(names)
}

/// Fails if the target is inside the source, because the source must not be changed.
fn check_target_is_outside(source: &Path, data: &Path) -> Result<(), Error> {
    let absolute = |path: &Path| -> Result<PathBuf, Error> {
        std::path::absolute(path).map_err(Error::io("cannot find", path))
    };
    if absolute(data)?.starts_with(absolute(source)?) {
        return Err(unsuitable(
            data,
            "is inside the directory to import, which must not be changed: choose another data directory",
        ));
    }
    Ok(())
}

fn unsuitable(path: &Path, what: &str) -> Error {
    Error::DataDirectory { message: format!("{} {what}", path.display()) }
}
