//! Makes a usable log of a damaged one, on request.
//!
//! ```text
//! read every intact record ─▶ unbroken ranges ─▶ one of them is kept ─▶ written to a
//! new log under a temporary name ─▶ the damaged log is set aside ─▶ renamed
//! ```
//!
//! No log is repaired automatically. Positions are dense, so a repair loses every record
//! outside the range that is kept. The damaged log is kept unchanged beside the others. The
//! repaired log has a new id, so clients notice the change, and it has forgotten its idempotent
//! producers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::{LogId, LogName, LogStatus, Position};

use crate::manifest::Manifest;
use crate::recovery::read_manifest;
use crate::rewrite::Writer;
use crate::segment::name;
use crate::storage::{Storage, replace_file};
use crate::{Catalog, Error, Found, Log, Options, random};

/// Nothing was appended, so closing is fast.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// Which of the unbroken ranges is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The range with the most records.
    #[default]
    Longest,
    /// The oldest records, up to the first damage.
    First,
    /// The newest records, after the last damage.
    Last,
}

/// An unbroken range of positions; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first position.
    pub start: Position,
    /// The position after the last.
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
    /// The positions that the log has, or should have.
    pub log: Range,
    /// Every range of intact records.
    pub whole: Vec<Range>,
    /// The range that is kept.
    pub kept: Range,
    /// Where the damaged log is now; `None` if it was not changed.
    pub set_aside: Option<PathBuf>,
}

/// Whether the log is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only report what would be done.
    DryRun,
    /// Write the repaired log and set the damaged one aside.
    Repair,
}

/// Repairs a log of a data directory that no server uses. `progress` is called with the
/// positions that were read and written. Blocks.
///
/// # Errors
/// The directory is in use; there is no such log; the log is not damaged, or no record of the
/// range can be read; I/O. The damaged log is then unchanged.
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
    let all = Range { start: damaged.start_position(), end: damaged.end_position() };
    let refuse =
        |message: &str| Error::DataDirectory { message: format!("the log {log} {message}") };
    if damaged.status() == LogStatus::Ok && whole.len() <= 1 {
        return Err(refuse("is not damaged, so there is nothing to repair"));
    }
    let kept = match keep {
        Keep::First => whole.iter().find(|range| range.start == all.start).copied(),
        Keep::Last => whole.iter().find(|range| range.end == all.end).copied(),
        Keep::Longest => whole.iter().copied().max_by_key(Range::records),
    };
    let kept = kept.ok_or_else(|| {
        refuse("has no intact record in that range: keep another range, or restore a backup")
    })?;
    let mut report = RepairReport { log: all, whole, kept, set_aside: None };
    if mode == Mode::Repair {
        let aside = replace(&storage, data_directory, &damaged, kept, progress)?;
        report.set_aside = Some(aside);
    }
    Ok(report)
}

/// A catalog that is closed when this is dropped. Dropping the catalog itself is not enough:
/// its threads may hold it, and the lock on the directory, a moment longer. The next caller
/// would then find the directory in use.
struct ClosingCatalog(Catalog);

impl Drop for ClosingCatalog {
    fn drop(&mut self) {
        self.0.close(CLOSING_MAX);
    }
}

/// Reads the whole log and collects the ranges that can be read.
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

/// Writes the range to a new log and gives it the name of the damaged one.
fn replace(
    storage: &Arc<dyn Storage>,
    data: &Path,
    damaged: &Log,
    kept: Range,
    progress: &mut dyn FnMut(Position),
) -> Result<PathBuf, Error> {
    let directory = data.join(damaged.name().as_str());
    let drawn = || Ok::<_, std::io::Error>((random::u64()?, LogId(random::u128()?)));
    let (number, id) = drawn().map_err(Error::io("cannot create an id in", data))?;
    let temporary = data.join(format!("{}{number:016x}", crate::data_directory::RESTORING));
    let written = write(storage, &temporary, damaged, kept, progress).and_then(|()| {
        let manifest = read_manifest(&**storage, &directory)?;
        let text = Manifest { id, generation: 0, ..manifest }.encode();
        let path = temporary.join(name::MANIFEST);
        replace_file(&**storage, &path, text.as_bytes()).map_err(Error::io("cannot write", path))
    });
    if let Err(error) = written {
        let _ = storage.remove_dir_all(&temporary);
        return Err(error);
    }
    let aside = data.join(format!(".damaged-{}-{number:016x}", damaged.name()));
    let renamed =
        |from: &Path, to: &Path| storage.rename(from, to).map_err(Error::io("cannot rename", from));
    renamed(&directory, &aside)?;
    renamed(&temporary, &directory)?;
    storage.sync_dir(data).map_err(Error::io("cannot sync", data))?;
    Ok(aside)
}

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
        let Found::Some(batch) = reader.read(1 << 20)? else { break };
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
