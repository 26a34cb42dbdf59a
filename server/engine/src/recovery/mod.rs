//! Recovery: opens the files of a log after a crash or a shutdown, and prepares it for appends.
//!
//! ```text
//! log.toml ─▶ watermark ─▶ segment names, list of archived segments ─▶ newest segment, block by block
//!   first invalid block at position p, watermark W:
//!     W > p or no watermark   corrupt: read-only, reported, never truncated
//!     otherwise               torn tail: copied aside, cut off, synced
//! ```
//!
//! Only recovery creates a [`LogEnd`] from existing files. It syncs the directories before it
//! reads anything. It also syncs the newest segment and drops its page cache before it checks
//! the blocks, because the page cache may hold bytes that a failed sync lost. The bytes after p
//! have no influence on this decision.

mod archived;
mod newest;
mod replica;
mod sealed;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use styx_protocol::{LogStatus, Position};

use self::archived::{KnownArchive, KnownSegment};
use self::newest::WalkedSegment;
pub(crate) use self::replica::{after, recover_replica};
use crate::archive::list::ArchiveList;
use crate::archive::{Entry, StoreAccess};
use crate::commit::failure::Failure;
use crate::commit::log_end::LogEnd;
use crate::commit::roll::SegmentDirectory;
use crate::commit::space::Space;
use crate::format::Unusable;
use crate::manifest::{self, Manifest};
use crate::producers::ProducerTable;
use crate::sabotage::{self, Mistake};
use crate::segment::Segment;
use crate::segment::name::{self, FileName};
use crate::segment::resync::{self, ChainGoal};
use crate::segment::walk::WalkEnd;
use crate::storage::{Storage, if_there, read_file};
use crate::tail::{DurableEnd, View};
use crate::watermark::{Mark, Watermark};
use crate::{Error, log_directory};

/// The state of a log after recovery.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) segment_directory: SegmentDirectory,
    pub(crate) view: View,
    /// `end` and `watermark` are `None` unless the log accepts appends.
    pub(crate) end: Option<LogEnd>,
    pub(crate) watermark: Option<Watermark>,
    /// The list of archived segments, if there is one.
    pub(crate) archive: Option<Box<ArchiveList>>,
    pub(crate) status: LogStatus,
    /// Why the status is not `ok`; otherwise empty.
    pub(crate) cause: String,
}

/// Reads the manifest in a log's directory.
///
/// # Errors
/// The file cannot be read or is invalid.
pub(crate) fn read_manifest(storage: &dyn Storage, directory: &Path) -> Result<Manifest, Error> {
    let path = directory.join(name::MANIFEST);
    let bytes =
        read_file(storage, &path, manifest::BYTES_MAX).map_err(Error::io("cannot read", &path))?;
    Manifest::decode(&bytes).map_err(|cause| match cause {
        Unusable::Newer(newer) => newer.error(path),
        Unusable::Damaged(cause) => unusable(directory, cause),
    })
}

/// Recovers the log in `directory`. Damage is not an error: the log is returned with the status
/// `corrupt`, and its intact records can be read.
///
/// # Errors
/// I/O fails, the storage is full, the manifest is invalid, or a newer version wrote one of the files
/// that are read.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    store: &StoreAccess,
) -> Result<Recovered, Error> {
    let failed = |doing| Error::io(doing, directory);
    storage.sync_dir(directory).map_err(failed("cannot sync"))?;
    let parent = directory.parent().unwrap_or(directory);
    storage.sync_dir(parent).map_err(failed("cannot sync the parent of"))?;

    let manifest = read_manifest(&**storage, directory)?;
    let folder = directory.join(manifest.generation.to_string());
    remove_leftovers(&**storage, directory, manifest.generation)?;
    let segment_directory = SegmentDirectory {
        storage: Arc::clone(storage),
        path: folder.clone(),
        index_after_size: manifest.config.index_after_size,
    };
    let recovery = LogRecovery { segment_directory, manifest, store: store.clone() };
    match storage.sync_dir(&folder) {
        Ok(()) => recovery.recover(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(recovery.corrupt(
            Vec::new(),
            DurableEnd::default(),
            None,
            "its segments are missing".into(),
        )),
        Err(error) => Err(Error::io("cannot sync", folder)(error)),
    }
}

/// Removes other generations and temporary files, which an interrupted truncate or create left.
fn remove_leftovers(storage: &dyn Storage, directory: &Path, generation: u64) -> Result<(), Error> {
    let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
    for entry in entries {
        let path = directory.join(&entry.name);
        let is_generation = log_directory::is_generation(&entry.name);
        if entry.is_dir && is_generation && entry.name != generation.to_string() {
            let kept = log_directory::remove_generation(storage, &path);
            if let Some(kept) = kept.map_err(Error::io("cannot remove", path))? {
                let kept = kept.display();
                tracing::warn!(%kept, "this file in the directory of a log is not part of it");
            }
        } else if !entry.is_dir && name::parse(&entry.name) == FileName::Temporary {
            if_there(storage.remove_file(&path)).map_err(Error::io("cannot remove", path))?;
        }
    }
    Ok(())
}

struct LogRecovery {
    segment_directory: SegmentDirectory,
    manifest: Manifest,
    store: StoreAccess,
}

impl LogRecovery {
    fn storage(&self) -> &dyn Storage {
        &*self.segment_directory.storage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.segment_directory.path.join(name)
    }

    fn recover(self) -> Result<Recovered, Error> {
        let Some(mut watermark) = self.open_watermark()? else {
            return self.read_only("its watermark file has no valid slot".into());
        };
        let mark = watermark.mark();
        let KnownArchive { list, entries, damage } = self.archive()?;
        let mut known = archived::join(&self.list_segments()?, &entries);
        self.remove_trimmed(&mut known, &mut watermark)?;
        let mut problems = Vec::new();
        let Some(last) = known.iter().rposition(|segment| segment.has_file) else {
            let segments = self.sealed_segments(&known, None, &mut problems)?;
            let position = segments.last().and_then(|segment| segment.summary()).map(|s| s.end);
            let durable =
                DurableEnd { position: position.unwrap_or_default(), ..Default::default() };
            let cause = match segments.is_empty() {
                true => "it has no segments",
                false => "its newest segment is missing",
            };
            return Ok(self.corrupt(segments, durable, list, cause.to_owned()));
        };
        let lost = known.split_off(last + 1);
        let Some(KnownSegment { base: newest, entry, .. }) = known.pop() else {
            return Ok(self.corrupt(
                Vec::new(),
                DurableEnd::default(),
                list,
                "it has no segments".into(),
            ));
        };
        let oldest = known.first().map_or(newest, |segment| segment.base);
        if oldest > mark.start {
            problems
                .push(format!("the segments from position {} to {oldest} are missing", mark.start));
            problems.extend(damage);
        }
        if let Some(segment) = lost.first() {
            problems.push(format!(
                "the segments from position {} on are archived, but the newest segment is missing",
                segment.base
            ));
        }
        let older = self.sealed_segments(&known, Some(newest), &mut problems)?;
        let before = older.last().and_then(|segment| segment.summary()).map(|s| s.seal_crc);
        let producers = self.producers_before(&older, newest)?;
        let walked = self.walk_newest(newest, before, producers)?;
        if walked.salt.is_none() {
            problems.push(format!("the segment {newest} does not begin with a valid block"));
        }
        if mark.durable > walked.cursor.position && !sabotage::makes(Mistake::TruncateOnAnyBadCrc) {
            problems.push(format!(
                "it is damaged at position {} ({}, byte {}: {}), but is known to be durable up to position {}",
                walked.cursor.position,
                name::segment(newest),
                walked.cursor.offset,
                describe(&walked.stop),
                mark.durable
            ));
        }
        if !problems.is_empty() {
            let mut segments = older;
            segments.push(Arc::new(self.newest_segment(newest, &walked)));
            // The log extends to its known durable end. An unreadable part before it is damage,
            // not the end of the log.
            let mut durable = walked.cursor.durable();
            if mark.durable > durable.position {
                let goal = ChainGoal::EndOfBlocks(mark.durable);
                durable.position = mark.durable;
                if let Ok(Some(chain)) =
                    resync::find(&*walked.file, walked.len, durable.offset, goal)
                {
                    durable.position = chain.end_position;
                    durable.offset = chain.end_offset;
                }
            }
            return Ok(self.corrupt(segments, durable, list, problems.join("; ")));
        }
        self.cut_torn_tail(newest, &walked)?;
        let resumed = self.resume(older, walked, &mut watermark, (newest, entry));
        resumed.map(|(view, end)| Recovered {
            manifest: self.manifest,
            segment_directory: self.segment_directory.clone(),
            view,
            end: Some(end),
            watermark: Some(watermark),
            archive: list,
            status: LogStatus::Ok,
            cause: String::new(),
        })
    }

    /// Recovers the readable part of a log whose durable end is unknown.
    fn read_only(self, cause: String) -> Result<Recovered, Error> {
        let KnownArchive { list, entries, .. } = self.archive()?;
        let mut known = archived::join(&self.list_segments()?, &entries);
        let Some(last) = known.iter().rposition(|segment| segment.has_file) else {
            return Ok(self.corrupt(Vec::new(), DurableEnd::default(), list, cause));
        };
        known.truncate(last + 1);
        let newest = known.pop().map(|segment| segment.base).unwrap_or_default();
        let mut problems = vec![cause];
        let mut segments = self.sealed_segments(&known, Some(newest), &mut problems)?;
        let before = segments.last().and_then(|segment| segment.summary()).map(|s| s.seal_crc);
        let walked = self.walk_newest(newest, before, ProducerTable::default())?;
        segments.push(Arc::new(self.newest_segment(newest, &walked)));
        Ok(self.corrupt(segments, walked.cursor.durable(), list, problems.join("; ")))
    }

    fn corrupt(
        self,
        segments: Vec<Arc<Segment>>,
        durable: DurableEnd,
        archive: Option<Box<ArchiveList>>,
        cause: String,
    ) -> Recovered {
        Recovered {
            manifest: self.manifest,
            segment_directory: self.segment_directory,
            view: View { segments: Arc::new(segments), durable },
            end: None,
            watermark: None,
            archive,
            status: LogStatus::Corrupt,
            cause,
        }
    }

    fn open_watermark(&self) -> Result<Option<Watermark>, Error> {
        let path = self.path(name::WATERMARK);
        match Watermark::open(&self.segment_directory.storage, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                opened.map_err(Error::io("cannot read", &path))?.map_err(|newer| newer.error(path))
            }
        }
    }

    /// Returns the base positions of all segments, ascending, and removes temporary files.
    fn list_segments(&self) -> Result<Vec<Position>, Error> {
        let folder = &self.segment_directory.path;
        let entries = self.storage().list(folder).map_err(Error::io("cannot list", folder))?;
        let mut bases = Vec::new();
        for entry in entries {
            match name::parse(&entry.name) {
                FileName::Segment(base) => bases.push(base),
                FileName::Temporary => {
                    let path = folder.join(&entry.name);
                    if_there(self.storage().remove_file(&path))
                        .map_err(Error::io("cannot remove", path))?;
                }
                _ => {}
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// Creates the [`LogEnd`] of an intact log. Raises the open epoch, and starts the next segment
    /// if the newest is sealed.
    fn resume(
        &self,
        mut segments: Vec<Arc<Segment>>,
        walked: WalkedSegment,
        watermark: &mut Watermark,
        (newest, entry): (Position, Option<Entry>),
    ) -> Result<(View, LogEnd), Error> {
        let mark = watermark.mark();
        let epoch = mark.open_epoch.max(walked.epoch).saturating_add(1);
        let durable = walked.cursor.position;
        let path = self.path(name::WATERMARK);
        watermark
            .write(Mark { open_epoch: epoch, start: mark.start, durable })
            .map_err(Error::io("cannot write", path))?;
        let segment = Arc::new(self.newest_segment(newest, &walked));
        let previous_base = segments.last().map(|segment: &Arc<Segment>| segment.base);
        segments.push(Arc::clone(&segment));
        let salt = walked.salt.ok_or_else(|| unusable(&segment.path, "it is empty".into()))?;
        let identity =
            walked.file.identity().map_err(Error::io("cannot examine", &segment.path))?;
        let mut end = LogEnd {
            segment,
            file: Some(walked.file),
            is_synced: true,
            cursor: walked.cursor,
            salt,
            epoch,
            spacing: walked.spacing,
            producers: Arc::new(Mutex::new(walked.producers)),
            previous_base,
            sealed: walked.sealed,
            space: Space::default(),
            identity,
        };
        if walked.sealed.is_some() {
            self.segment_directory.roll(&mut end).map_err(|failure| match failure {
                Failure::NoSpace | Failure::BelowReserve(_) => {
                    Error::StorageFull { path: self.segment_directory.path.clone() }
                }
                Failure::NoDescriptor(error) => {
                    Error::io("cannot open a file in", &self.segment_directory.path)(error)
                }
                Failure::Broken(cause) => unusable(&self.segment_directory.path, cause),
            })?;
            if let Some(sealed) = segments.last() {
                self.note_archived(sealed, entry);
            }
            segments.push(Arc::clone(&end.segment));
        }
        let view = View { segments: Arc::new(segments), durable: end.cursor.durable() };
        Ok((view, end))
    }
}

fn describe(stop: &WalkEnd) -> String {
    match stop {
        WalkEnd::EndOfFile => "the file ends here".into(),
        WalkEnd::Sealed => "the segment is sealed".into(),
        WalkEnd::Invalid(why) => (*why).into(),
        WalkEnd::Newer(newer) => newer.message(),
    }
}

fn unusable(path: &Path, cause: String) -> Error {
    Error::Io {
        doing: "cannot use",
        path: path.to_owned(),
        source: Arc::new(io::Error::new(io::ErrorKind::InvalidData, cause)),
    }
}
