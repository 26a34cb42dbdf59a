//! Repair: copies one range of intact records of a damaged log to a new log.
//!
//! ```text
//! read every intact record ─▶ unbroken ranges ─▶ choose one ─▶ copy it to a new log with a
//! temporary name ─▶ rename the damaged log ─▶ give its name to the new log
//! ```
//!
//! Only `styx repair` calls this; no log is repaired automatically. Positions have no gaps, so a
//! repair loses every record outside the chosen range. The repaired log has a new id, so clients
//! notice the change. It keeps the file with the cursors, whose positions belong to the old id, so
//! consumers notice it too. It does not remember its idempotent producers. Invariant: the damaged
//! log stays unchanged in the data directory, under another name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::{LogId, LogName, LogStatus, Position};

use crate::manifest::Manifest;
use crate::recovery::read_manifest;
use crate::rewrite::Writer;
use crate::segment::name;
use crate::storage::{Storage, replace_file};
use crate::{Catalog, Error, Found, Log, Options, cursors, random};

/// How long closing the catalog may take. It is fast, because nothing was appended.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// How many bytes of the log's name are in the new name of a damaged log's directory. The whole
/// name may be as long as the file system allows, so adding to it could make it too long.
const ASIDE_NAME_BYTES_MAX: usize = 64;

/// Which of the unbroken ranges of intact records a repair keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The range with the most records.
    #[default]
    Longest,
    /// The range from the log's first position to the first damage.
    First,
    /// The range from the last damage to the log's end.
    Last,
}

/// A range of positions without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first position.
    pub start: Position,
    /// The position after the last one.
    pub end: Position,
}

impl Range {
    /// The number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.end.since(self.start)
    }
}

/// What a repair did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// The positions of the damaged log, including its damaged records.
    pub log: Range,
    /// Every unbroken range of intact records, in ascending order.
    pub whole: Vec<Range>,
    /// The range that is kept.
    pub kept: Range,
    /// The directory to which the damaged log was renamed; `None` after a dry run.
    pub set_aside: Option<PathBuf>,
}

/// Whether to repair the log or only to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Change nothing, and report what a repair would keep.
    DryRun,
    /// Write the repaired log and rename the damaged one.
    Repair,
}

/// Repairs a log of a data directory that no server uses. Calls `progress` with the position
/// that was reached, first while it reads the log and again while it copies the range. Blocks the
/// thread.
///
/// # Errors
/// The directory is in use, the log does not exist or is not damaged, no record of the range can
/// be read, or I/O fails. The damaged log is unchanged then.
pub fn repair(
    data_directory: &Path,
    log: &LogName,
    keep: Keep,
    mode: Mode,
    progress: &mut dyn FnMut(Position),
) -> Result<RepairReport, Error> {
    let options = Options { scrub_bytes_per_second: 0, ..Options::new(data_directory) };
    let storage = Arc::clone(&options.storage);
    let ClosingCatalog(catalog) = &ClosingCatalog(Catalog::open(options)?);
    catalog.wait_until_open();
    let damaged = catalog.log(log)?;
    let whole = intact_ranges(&damaged, progress)?;
    let positions = Range { start: damaged.start_position(), end: damaged.end_position() };
    let refuse =
        |message: &str| Error::DataDirectory { message: format!("the log {log} {message}") };
    if damaged.status() == LogStatus::Ok && whole.len() <= 1 {
        return Err(refuse("is not damaged, so there is nothing to repair"));
    }
    let kept = match keep {
        Keep::First => whole.iter().find(|range| range.start == positions.start).copied(),
        Keep::Last => whole.iter().find(|range| range.end == positions.end).copied(),
        Keep::Longest => whole.iter().copied().max_by_key(Range::records),
    };
    let kept = kept.ok_or_else(|| {
        refuse("has no intact records in that range: choose another range or restore a backup")
    })?;
    let mut report = RepairReport { log: positions, whole, kept, set_aside: None };
    if mode == Mode::Repair {
        let aside = replace(&storage, data_directory, &damaged, kept, progress)?;
        report.set_aside = Some(aside);
    }
    Ok(report)
}

/// Closes a catalog when it is dropped. Dropping the catalog itself is not enough: its threads
/// may hold it, and the lock on the directory, a little longer. The next caller would then fail
/// because the directory is in use.
struct ClosingCatalog(Catalog);

impl Drop for ClosingCatalog {
    fn drop(&mut self) {
        self.0.close(CLOSING_MAX);
    }
}

/// Reads the log to its end and returns the ranges that can be read.
fn intact_ranges(log: &Log, progress: &mut dyn FnMut(Position)) -> Result<Vec<Range>, Error> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut at = log.start_position();
    'ranges: loop {
        let mut reader = log.reader(at)?;
        loop {
            match reader.read(1 << 20) {
                Ok(Found::Some(batch)) => {
                    let end = batch.next();
                    match ranges.last_mut() {
                        Some(range) if range.end == batch.first() => range.end = end,
                        _ => ranges.push(Range { start: batch.first(), end }),
                    }
                    progress(end);
                }
                Ok(Found::NeedsStore(fetch)) => reader.keep(fetch.wait()?),
                Ok(_) => return Ok(ranges),
                Err(Error::CorruptRecord { next: Some(next), position, .. }) if next > position => {
                    at = next;
                    continue 'ranges;
                }
                Err(Error::CorruptRecord { .. }) => return Ok(ranges),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Copies the range to a new log, renames the damaged log, and gives its name to the new one.
/// Returns the new directory of the damaged log.
fn replace(
    storage: &Arc<dyn Storage>,
    data: &Path,
    damaged: &Log,
    kept: Range,
    progress: &mut dyn FnMut(Position),
) -> Result<PathBuf, Error> {
    let directory = data.join(damaged.name().as_str());
    let random_ids = || Ok::<_, std::io::Error>((random::u64()?, LogId(random::u128()?)));
    let (number, id) = random_ids().map_err(Error::io("cannot create an id in", data))?;
    let temporary = data.join(format!("{}{number:016x}", crate::data_directory::RESTORING));
    let written = write(storage, &temporary, damaged, kept, progress).and_then(|()| {
        let manifest = read_manifest(&**storage, &directory)?;
        let text = Manifest::new(id, 0, manifest.config).encode();
        let path = temporary.join(name::MANIFEST);
        replace_file(&**storage, &path, text.as_bytes())
            .map_err(Error::io("cannot write", path))?;
        copy_cursors(&**storage, &directory, &temporary)
    });
    let aside = data.join(aside_name(damaged.name(), number));
    let rename =
        |from: &Path, to: &Path| storage.rename(from, to).map_err(Error::io("cannot rename", from));
    let replaced = written.and_then(|()| rename(&directory, &aside)).and_then(|()| {
        let placed = storage
            .rename_new(&temporary, &directory)
            .map_err(Error::io("cannot rename", &temporary));
        if placed.is_err() {
            let _ = storage.rename(&aside, &directory);
        }
        placed
    });
    if let Err(error) = replaced {
        let _ = storage.remove_dir_all(&temporary);
        return Err(error);
    }
    storage.sync_dir(data).map_err(Error::io("cannot sync", data))?;
    Ok(aside)
}

/// Copies the file with the cursors, if there is an intact one.
fn copy_cursors(storage: &dyn Storage, from: &Path, to: &Path) -> Result<(), Error> {
    let Ok(Some(table)) = cursors::check(storage, &cursors::path(from)) else { return Ok(()) };
    let path = cursors::path(to);
    replace_file(storage, &path, &table.encode()).map_err(Error::io("cannot write", path))
}

/// The name to which the directory of a damaged log is renamed. Its length has a limit for every
/// log name.
fn aside_name(log: &LogName, number: u64) -> String {
    // A log's name is ASCII, so it can be cut at any byte.
    let start = log.as_str().get(..ASIDE_NAME_BYTES_MAX).unwrap_or(log.as_str());
    format!(".damaged-{start}-{number:016x}")
}

/// Copies the range to a new log in `directory`, without a manifest, and syncs it.
fn write(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    from: &Log,
    kept: Range,
    progress: &mut dyn FnMut(Position),
) -> Result<(), Error> {
    let config = from.config();
    let folder = directory.join("0");
    storage.create_dir(directory).map_err(Error::io("cannot create", directory))?;
    storage.create_dir(&folder).map_err(Error::io("cannot create", &folder))?;
    let mut writer = Writer::begin(storage, folder, config.index_after_size, kept.start, 0)?;
    let segment_bytes = u64::try_from(config.segment_max_size).unwrap_or(u64::MAX);
    let mut reader = from.reader(kept.start)?;
    while reader.position() < kept.end {
        let batch = match reader.read(1 << 20)? {
            Found::Some(batch) => batch,
            Found::NeedsStore(fetch) => {
                reader.keep(fetch.wait()?);
                continue;
            }
            Found::AtEnd | Found::NeedsDisk => break,
        };
        for record in batch.records().take_while(|record| record.position < kept.end) {
            if writer.segment_bytes() > segment_bytes {
                writer.roll(record.timestamp_us)?;
            }
            writer.set_timestamp(record.timestamp_us)?;
            writer.record(&record.payload)?;
        }
        progress(batch.next());
    }
    writer.finish()?;
    storage.sync_dir(directory).map_err(Error::io("cannot sync", directory))
}
