//! Verify: checks every block and every record of a log on disk, without changing it.
//!
//! `styx verify` uses this on the data directory of a stopped server. A restore uses it before
//! the unpacked archive becomes a log. The report names the file, byte and position of each
//! problem. Invariant: it changes nothing and creates no file, so it works on a read-only mount and
//! for a user who may only read. It shares a lock that keeps servers out. If the directory cannot be
//! locked, the report has a note.

mod archived;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::block::{self, check_sizes};
use styx_protocol::limits::MAX_RECORD_SIZE_MAX;
use styx_protocol::{LogId, Position};

use self::archived::{Found, Unchecked};
use crate::archive::list::Entries;
use crate::format::{NewerFormat, Unusable};
use crate::producers::{BYTES_MAX, ProducerTable};
use crate::recovery::read_manifest;
use crate::segment::name::{self, FileName};
use crate::segment::walk::{self, Bodies, ChainStart, Walk, WalkEnd};
use crate::storage::{Access, File, Lock, RealStorage, Storage, read_file, zeros_from};
use crate::watermark::Watermark;
use crate::{Error, cursors, data_directory};

/// The progress of a verification.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The log that is being read.
    pub log: &'a str,
    /// The number of bytes that were read so far, of all logs.
    pub bytes_done: u64,
    /// The number of bytes to read, of all logs.
    pub bytes_total: u64,
}

/// Damage in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The damaged file, or the folder in which a file is missing.
    pub file: PathBuf,
    /// The byte offset at which the damage begins; 0 if it is unknown.
    pub offset: u64,
    /// The first affected position.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

/// The result for one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The name of the log.
    pub name: String,
    /// The first position that the log still has.
    pub start: Position,
    /// The position after the last intact record.
    pub end: Position,
    /// The number of intact records that were read.
    pub records: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The damage; empty for an intact log.
    pub problems: Vec<Problem>,
    /// A file of a newer version, which is not damage. The log was not checked, or not completely.
    pub newer: Option<NewerFormat>,
    /// Remains of a crash that are not damage, because recovery removes them, and segments that are
    /// only in the object store and were not checked.
    pub notes: Vec<String>,
}

/// The result for a data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Every log, sorted by name.
    pub logs: Vec<LogReport>,
    /// What could not be ensured during the verification. This is not damage.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether every log was checked and none is damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.logs.iter().all(LogReport::is_good)
    }
}

impl LogReport {
    /// Whether the log was checked and is not damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && self.newer.is_none()
    }
}

/// Verifies every log of a data directory that no server uses. Calls `progress` after each block.
/// Blocks the thread.
///
/// # Errors
/// The directory is in use, is not a data directory, or cannot be read. Damage is not an error;
/// it is in the report.
pub fn verify(
    data_directory: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<VerifyReport, Error> {
    let storage: Arc<dyn Storage> = Arc::new(RealStorage);
    let listing = data_directory::list_logs(&*storage, data_directory)?;
    let listed = listing.logs;
    let mut report = VerifyReport { notes: listing.others, ..VerifyReport::default() };
    // A directory without logs does not have to be locked.
    let _lock = match listed.is_empty() {
        true => None,
        false => match data_directory::lock_for_reading(&*storage, data_directory)? {
            Ok(lock) => Some(lock),
            Err(error) => {
                report.notes.push(format!(
                    "{} cannot be locked ({error}): if a server used it during the check, stop the server and check again",
                    data_directory.display()
                ));
                None
            }
        },
    };
    let mut sizes = Vec::new();
    for name in &listed {
        sizes.push(segment_bytes(&*storage, &data_directory.join(name.as_str())));
    }
    let bytes_total = sizes.iter().sum();
    let mut before = 0;
    for (name, size) in listed.iter().zip(sizes) {
        let mut on_read = |bytes: u64| {
            progress(Progress { log: name.as_str(), bytes_done: before + bytes, bytes_total });
        };
        let directory = data_directory.join(name.as_str());
        let _lock = match lock_linked_for_reading(&*storage, &directory) {
            Ok(lock) => lock,
            Err(error) => {
                report.notes.push(format!("the log {name} is behind a symbolic link: {error}"));
                None
            }
        };
        let mut log = verify_log(&*storage, &directory, &mut on_read);
        log.name = name.to_string();
        report.logs.push(log);
        before += size;
    }
    Ok(report)
}

/// Locks a log behind a symbolic link, if a server has left a lock file in its directory. Changes
/// nothing.
fn lock_linked_for_reading(
    storage: &dyn Storage,
    directory: &Path,
) -> Result<Option<Box<dyn Lock>>, Error> {
    match storage.link_target(directory) {
        Ok(Some(target)) => Ok(data_directory::lock_for_reading(storage, &target)?.ok()),
        _ => Ok(None),
    }
}

fn segment_bytes(storage: &dyn Storage, directory: &Path) -> u64 {
    let Ok(manifest) = read_manifest(storage, directory) else { return 0 };
    let entries = storage.list(&directory.join(manifest.generation.to_string()));
    let is_segment = |name: &str| matches!(name::parse(name), FileName::Segment(_));
    entries.map_or(0, |entries| {
        entries.iter().filter(|entry| is_segment(&entry.name)).map(|entry| entry.len).sum()
    })
}

/// Verifies one log. Reports a file that cannot be read as a problem. Calls `on_read` with the
/// number of bytes of this log that were read so far.
pub(crate) fn verify_log(
    storage: &dyn Storage,
    directory: &Path,
    on_read: &mut dyn FnMut(u64),
) -> LogReport {
    let mut report = LogReport::default();
    let manifest = match read_manifest(storage, directory) {
        Ok(manifest) => manifest,
        Err(Error::NewerFormat(newer)) => {
            report.newer = Some(newer);
            return report;
        }
        Err(error) => {
            report.problem(directory.join(name::MANIFEST), 0, error.to_string());
            return report;
        }
    };
    let folder = directory.join(manifest.generation.to_string());
    let entries = match storage.list(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            report.problem(folder, 0, error.to_string());
            return report;
        }
    };
    let files = entries.iter().filter_map(|entry| match name::parse(&entry.name) {
        FileName::Segment(base) => Some((base, Found::File(entry.len))),
        _ => None,
    });
    let mut segments: BTreeMap<Position, Found> = files.collect();
    let newest = segments.last_key_value().map(|(base, _)| *base);
    let archived = match archived::entries(storage, &folder) {
        Ok(archived) => archived,
        Err(Unusable::Newer(newer)) => {
            report.newer = Some(newer.in_file(folder.join(name::ARCHIVE)));
            return report;
        }
        Err(Unusable::Damaged(cause)) => {
            report.notes.push(format!("{cause}: the archiver writes it again"));
            Entries::new()
        }
    };
    for (base, entry) in archived {
        segments.entry(base).or_insert(Found::Archived(entry));
    }
    for entry in entries.iter().filter(|e| matches!(name::parse(&e.name), FileName::Producers(_))) {
        let path = folder.join(&entry.name);
        let read = read_file(storage, &path, BYTES_MAX);
        // The log does not need a damaged snapshot.
        if let Ok(Err(Unusable::Newer(newer))) = read.map(|bytes| ProducerTable::decode(&bytes)) {
            report.newer = Some(newer.in_file(path));
            return report;
        }
    }
    let watermark_path = folder.join(name::WATERMARK);
    let watermark = storage.open(&watermark_path, Access::Read);
    let watermark = watermark.and_then(|file| Watermark::read(&*file));
    let mark = match watermark {
        Ok(Ok(Some((_, mark)))) => Some(mark),
        Ok(Err(newer)) => {
            report.newer = Some(newer.in_file(watermark_path));
            return report;
        }
        Ok(Ok(None)) => {
            report.problem(watermark_path, 0, "neither of the two slots is valid".into());
            None
        }
        Err(error) => {
            report.problem(watermark_path, 0, error.to_string());
            None
        }
    };
    if let Some(mark) = mark {
        // Segments that an interrupted trim did not remove are not part of the log, and the list of
        // archived segments may have entries of removed ones.
        segments.retain(|_, found| match found {
            Found::File(_) => true,
            Found::Archived(entry) => entry.end > mark.start,
        });
        if let Some((&first, _)) = segments.range(..=mark.start).next_back() {
            segments = segments.split_off(&first);
        }
        report.end = mark.start;
    }
    report.start = segments.keys().next().map_or(report.end, |base| *base);
    if report.start > report.end {
        let message =
            format!("the segments from position {} to {} are missing", report.end, report.start);
        report.problem(folder.clone(), 0, message);
    }
    report.end = report.start;
    let mut prev_crc = None;
    let mut unchecked = Unchecked::default();
    let durable = mark.map_or(Position::ORIGIN, |mark| mark.durable);
    for (base, found) in &segments {
        let path = folder.join(name::segment(*base));
        if *base != report.end {
            let message =
                format!("the segments from position {} to {base} are missing", report.end);
            report.problem(path.clone(), 0, message);
            report.end = *base;
            prev_crc = None;
        }
        let len = match found {
            Found::File(len) => *len,
            Found::Archived(entry) if newest.is_none_or(|newest| entry.base > newest) => {
                let message = "it is archived, but the newest segment after it is missing";
                report.problem(path, 0, message.into());
                break;
            }
            Found::Archived(entry) => {
                unchecked.add(entry);
                report.end = entry.end;
                prev_crc = Some(entry.seal_crc);
                continue;
            }
        };
        let segment =
            SegmentFile { path, base: *base, len, newest: newest == Some(*base), durable };
        prev_crc = segment.verify(storage, prev_crc, &mut report, on_read);
        if report.newer.is_some() {
            return report;
        }
    }
    report.notes.extend(unchecked.note());
    if report.is_good() && report.end < durable {
        let message =
            format!("the log ends here, but is known to be durable up to position {durable}");
        report.problem(folder, 0, message);
    }
    verify_cursors(storage, directory, manifest.id, &mut report);
    report
}

/// Verifies the file with the cursors, and that no cursor of an intact log is after its end.
fn verify_cursors(storage: &dyn Storage, directory: &Path, id: LogId, report: &mut LogReport) {
    let path = cursors::path(directory);
    let table = match cursors::check(storage, &path) {
        Ok(table) => table.unwrap_or_default(),
        Err(Error::NewerFormat(newer)) => {
            report.newer = Some(newer);
            return;
        }
        Err(error) => return report.problem(path, 0, error.to_string()),
    };
    if !report.problems.is_empty() {
        return;
    }
    for (name, entry) in &table.only_of(id).cursors {
        if entry.position > report.end {
            let message = format!(
                "the cursor {name} has position {}, but the log ends at {}",
                entry.position, report.end
            );
            report.problem(path.clone(), 0, message);
        }
    }
}

/// A segment file to verify.
struct SegmentFile {
    path: PathBuf,
    base: Position,
    len: u64,
    newest: bool,
    /// The position up to which the log is known to be durable.
    durable: Position,
}

impl SegmentFile {
    /// Verifies the segment. Returns the `header_crc` of its seal, which the next segment must
    /// name. `None` if there is no valid seal.
    fn verify(
        &self,
        storage: &dyn Storage,
        prev_crc: Option<u32>,
        report: &mut LogReport,
        on_read: &mut dyn FnMut(u64),
    ) -> Option<u32> {
        let file = match storage.open(&self.path, Access::Read) {
            Ok(file) => file,
            Err(error) => {
                report.problem(self.path.clone(), 0, error.to_string());
                return None;
            }
        };
        let chain_start = ChainStart { base: self.base, prev_crc };
        let mut walk = Walk::new(&*file, self.len, chain_start, Bodies::Return);
        let before = report.bytes;
        let stop = loop {
            match walk.step() {
                Ok(Ok(block)) => {
                    self.check_records(&block, report);
                    report.records += u64::from(block.header.count);
                    on_read(before + walk.offset());
                }
                Ok(Err(stop)) => break stop,
                Err(error) => {
                    report.end = walk.position();
                    report.problem(self.path.clone(), walk.offset(), error.to_string());
                    return None;
                }
            }
        };
        report.bytes += walk.offset();
        report.end = walk.position();
        self.check_end(&stop, &walk, &*file, report);
        (stop == WalkEnd::Sealed).then(|| walk.prev_crc()).flatten()
    }

    fn check_records(&self, block: &walk::WalkedBlock, report: &mut LogReport) {
        let walk::WalkedBlock { header, header_crc, body, .. } = block;
        let records = check_sizes(header, MAX_RECORD_SIZE_MAX).and_then(|()| {
            block::Block::vouched(*header, *header_crc, body.clone()).checked_records()
        });
        let Err(fault) = records else { return };
        report.end = Position(block.header.base_position);
        report.problem(self.path.clone(), block.offset, fault.to_string());
    }

    fn check_end(&self, stop: &WalkEnd, walk: &Walk<'_>, file: &dyn File, report: &mut LogReport) {
        let left = self.len.saturating_sub(walk.offset());
        let message = match stop {
            WalkEnd::Sealed if left == 0 || self.newest => return,
            WalkEnd::EndOfFile if self.newest && walk.offset() > 0 => return,
            WalkEnd::Invalid(why) if self.newest && walk.position() < self.durable => {
                format!("{why}; the log is known to be durable up to position {}", self.durable)
            }
            WalkEnd::Invalid(_) if self.newest && walk.offset() > 0 => {
                if !zeros_from(file, self.len).is_ok_and(|zeros| zeros <= walk.offset()) {
                    report.notes.push(format!(
                        "{left} bytes after position {} are not a complete block: they are the rest of an interrupted commit, were never acknowledged, and are cut off when the log is opened",
                        walk.position()
                    ));
                }
                return;
            }
            WalkEnd::Sealed => format!("{left} bytes follow the seal"),
            WalkEnd::EndOfFile => "the segment ends without a seal".into(),
            WalkEnd::Invalid(why) => (*why).to_owned(),
            WalkEnd::Newer(newer) => {
                report.newer = Some(newer.clone().in_file(&self.path));
                return;
            }
        };
        report.problem(self.path.clone(), walk.offset(), message);
    }
}

impl LogReport {
    fn problem(&mut self, file: PathBuf, offset: u64, message: String) {
        self.problems.push(Problem { file, offset, position: self.end, message });
    }
}
