//! Recovery: from what a crash left to a log that can be appended to.
//!
//! ```text
//! log.toml ─▶ watermark ─▶ names of segments ─▶ the newest, block by block
//!   first invalid block at position p, watermark W:
//!     W > p or no watermark   corrupt: read-only, reported, never truncated
//!     else                    torn tail: copied aside, cut off, synced
//! ```
//!
//! Only this makes an [`End`]. Before anything is read, the directories are
//! synced; before the newest segment is judged it is synced and its page cache
//! dropped, because the kernel may hold bytes that a failed sync lost. Bytes
//! after p decide nothing.

mod newest;
mod sealed;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use styx_protocol::{LogStatus, Position};

use self::newest::Walked;
use crate::commit::end::{End, Failure, Space};
use crate::commit::roll::SegmentDirectory;
use crate::manifest::{self, Manifest};
use crate::producers::Table;
use crate::segment::Segment;
use crate::segment::name::{self, FileName};
use crate::segment::resume::{self, Goal};
use crate::segment::walk::Stop;
use crate::storage::{Access, Storage, read_file};
use crate::tail::{Durable, View};
use crate::watermark::{Mark, Watermark};
use crate::{Error, sabotage};

/// A log as recovery found it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) segment_directory: SegmentDirectory,
    pub(crate) view: View,
    /// Both `None` unless the log may be appended to.
    pub(crate) end: Option<End>,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) status: LogStatus,
    /// Why it is not `ok`.
    pub(crate) cause: String,
}

/// Reads the manifest of a log's directory.
pub(crate) fn read_manifest(storage: &dyn Storage, directory: &Path) -> Result<Manifest, Error> {
    let path = directory.join(name::MANIFEST);
    let bytes =
        read_file(storage, &path, manifest::BYTES_MAX).map_err(Error::io("cannot read", &path))?;
    Manifest::decode(&bytes).map_err(|cause| unusable(directory, cause))
}

/// Recovers the log in `directory`.
pub(crate) fn recover(storage: &Arc<dyn Storage>, directory: &Path) -> Result<Recovered, Error> {
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
    let scene = Scene { segment_directory, manifest };
    match storage.sync_dir(&folder) {
        Ok(()) => scene.recover(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(scene.corrupt(Vec::new(), Durable::default(), "its segments are missing".into()))
        }
        Err(error) => Err(Error::io("cannot sync", folder)(error)),
    }
}

/// Removes other generations and unfinished files: what a crash left of a
/// truncate, or before a log was complete.
fn remove_leftovers(storage: &dyn Storage, directory: &Path, generation: u64) -> Result<(), Error> {
    let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
    for entry in entries {
        let path = directory.join(&entry.name);
        let is_generation = entry.name.parse::<u64>().is_ok();
        if entry.is_dir && is_generation && entry.name != generation.to_string() {
            storage.remove_dir_all(&path).map_err(Error::io("cannot remove", path))?;
        } else if !entry.is_dir && name::parse(&entry.name) == FileName::Temporary {
            storage.remove_file(&path).map_err(Error::io("cannot remove", path))?;
        }
    }
    Ok(())
}

struct Scene {
    segment_directory: SegmentDirectory,
    manifest: Manifest,
}

impl Scene {
    fn storage(&self) -> &dyn Storage {
        &*self.segment_directory.storage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.segment_directory.path.join(name)
    }

    fn recover(self) -> Result<Recovered, Error> {
        let Some(mut watermark) = self.open_watermark()? else {
            return self.read_only("it has no valid watermark".into());
        };
        let mark = watermark.mark();
        let mut bases = self.list_segments()?;
        self.remove_trimmed(&mut bases, mark.start)?;
        let Some(newest) = bases.pop() else {
            let cause = "it has no segments".to_owned();
            return Ok(self.corrupt(Vec::new(), Durable::default(), cause));
        };
        let oldest = bases.first().copied().unwrap_or(newest);
        let mut faults = Vec::new();
        if oldest > mark.start {
            faults
                .push(format!("the segments from position {} to {oldest} are missing", mark.start));
        }
        let older = self.sealed_segments(&bases, newest, &mut faults)?;
        let before = older.last().and_then(|segment| segment.summary()).map(|s| s.seal_crc);
        let producers = self.producers_before(&older, newest)?;
        let walked = self.walk_newest(newest, before, producers)?;
        if let Stop::Unknown(error) = &walked.stop {
            return Err(unusable(&self.path(&name::segment(newest)), error.to_string()));
        }
        if walked.salt.is_none() {
            faults.push(format!("the segment {newest} does not begin as it should"));
        }
        if mark.durable > walked.cursor.position && !sabotage::TRUNCATE_ON_ANY_BAD_CRC {
            faults.push(format!(
                "it is damaged at position {} ({}, byte {}: {}), but is known to be durable up to {}",
                walked.cursor.position,
                name::segment(newest),
                walked.cursor.offset,
                describe(&walked.stop),
                mark.durable
            ));
        }
        if !faults.is_empty() {
            let mut segments = older;
            segments.push(Arc::new(self.newest_segment(newest, &walked)));
            // The log reaches as far as it is known to be durable: what cannot be
            // read of it is damage, not the end.
            let mut durable = walked.cursor.durable();
            if mark.durable > durable.position {
                let goal = Goal::EndOfBlocks(mark.durable);
                durable.position = mark.durable;
                if let Ok(Some(chain)) =
                    resume::find(&*walked.file, walked.len, durable.offset, goal)
                {
                    durable.position = chain.end_position;
                    durable.offset = chain.end_offset;
                }
            }
            return Ok(self.corrupt(segments, durable, faults.join("; ")));
        }
        self.cut_torn_tail(newest, &walked)?;
        self.resume(older, walked, &mut watermark, newest).map(|(view, end)| Recovered {
            manifest: self.manifest,
            segment_directory: self.segment_directory.clone(),
            view,
            end: Some(end),
            watermark: Some(watermark),
            status: LogStatus::Ok,
            cause: String::new(),
        })
    }

    /// What can be read of a log whose extent is unknown.
    fn read_only(self, cause: String) -> Result<Recovered, Error> {
        let mut bases = self.list_segments()?;
        let Some(newest) = bases.pop() else {
            return Ok(self.corrupt(Vec::new(), Durable::default(), cause));
        };
        let mut faults = vec![cause];
        let mut segments = self.sealed_segments(&bases, newest, &mut faults)?;
        let before = segments.last().and_then(|segment| segment.summary()).map(|s| s.seal_crc);
        let walked = self.walk_newest(newest, before, Table::default())?;
        segments.push(Arc::new(self.newest_segment(newest, &walked)));
        Ok(self.corrupt(segments, walked.cursor.durable(), faults.join("; ")))
    }

    fn corrupt(self, segments: Vec<Arc<Segment>>, durable: Durable, cause: String) -> Recovered {
        Recovered {
            manifest: self.manifest,
            segment_directory: self.segment_directory,
            view: View { segments: Arc::new(segments), durable },
            end: None,
            watermark: None,
            status: LogStatus::Corrupt,
            cause,
        }
    }

    fn open_watermark(&self) -> Result<Option<Watermark>, Error> {
        let path = self.path(name::WATERMARK);
        let file = match self.storage().open(&path, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("cannot open", path)(error)),
        };
        Watermark::open(file).map_err(Error::io("cannot read", path))
    }

    /// The bases of all segments, ascending; unfinished files are removed.
    fn list_segments(&self) -> Result<Vec<Position>, Error> {
        let folder = &self.segment_directory.path;
        let entries = self.storage().list(folder).map_err(Error::io("cannot list", folder))?;
        let mut bases = Vec::new();
        for entry in entries {
            match name::parse(&entry.name) {
                FileName::Segment(base) => bases.push(base),
                FileName::Temporary => {
                    let path = folder.join(&entry.name);
                    self.storage().remove_file(&path).map_err(Error::io("cannot remove", path))?;
                }
                _ => {}
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// Finishes a trim that a crash interrupted.
    fn remove_trimmed(&self, bases: &mut Vec<Position>, start: Position) -> Result<(), Error> {
        let kept = bases.partition_point(|base| *base <= start).saturating_sub(1);
        for base in bases.drain(..kept) {
            let path = self.path(&name::segment(base));
            self.storage().remove_file(&path).map_err(Error::io("cannot remove", path))?;
            let _ = self.storage().remove_file(&self.path(&name::index(base)));
        }
        Ok(())
    }

    /// Makes the end of a whole log: raises the epoch, and gives a sealed newest
    /// segment its successor.
    fn resume(
        &self,
        mut segments: Vec<Arc<Segment>>,
        walked: Walked,
        watermark: &mut Watermark,
        newest: Position,
    ) -> Result<(View, End), Error> {
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
        let mut end = End {
            segment,
            file: walked.file,
            cursor: walked.cursor,
            salt,
            epoch,
            spacing: walked.spacing,
            producers: Arc::new(Mutex::new(walked.producers)),
            previous_base,
            sealed: walked.sealed,
            space: Space::default(),
        };
        if walked.sealed.is_some() {
            self.segment_directory.roll(&mut end).map_err(|failure| match failure {
                Failure::Full => Error::StorageFull { path: self.segment_directory.path.clone() },
                Failure::Broken(cause) => unusable(&self.segment_directory.path, cause),
            })?;
            segments.push(Arc::clone(&end.segment));
        }
        let view = View { segments: Arc::new(segments), durable: end.cursor.durable() };
        Ok((view, end))
    }
}

fn describe(stop: &Stop) -> String {
    match stop {
        Stop::EndOfFile => "the file ends".into(),
        Stop::Sealed => "the segment is sealed".into(),
        Stop::Invalid(why) => (*why).into(),
        Stop::Unknown(error) => error.to_string(),
    }
}

fn unusable(path: &Path, cause: String) -> Error {
    Error::Io {
        doing: "cannot use",
        path: path.to_owned(),
        source: Arc::new(io::Error::new(io::ErrorKind::InvalidData, cause)),
    }
}
