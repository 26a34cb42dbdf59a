//! Recovery of a log of another server, in the directory of a read replica.
//!
//! ```text
//! log.toml ─▶ watermark ─▶ list of archived segments ─▶ view: remote segments, empty newest one
//! ```
//!
//! The log can be attached again from the archive, so nothing is repaired: if anything does not
//! fit, the log is not opened. The list may have more segments than the watermark says, because it
//! is written first. Invariant: no [`LogEnd`](crate::commit::log_end::LogEnd) is made, so nothing
//! can be appended.

use std::path::Path;
use std::sync::Arc;

use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogStatus, Position};

use super::archived::KnownArchive;
use super::{LogRecovery, Recovered, read_manifest, remove_leftovers, unusable};
use crate::Error;
use crate::archive::list::Entries;
use crate::archive::{Entry, StoreAccess};
use crate::commit::roll::{SegmentDirectory, SegmentStart};
use crate::segment::{Segment, name};
use crate::storage::{Storage, if_there};
use crate::tail::{DurableEnd, View};
use crate::watermark::Mark;

/// Recovers the log in `directory`.
///
/// # Errors
/// I/O fails, a file is damaged or missing, or a newer version wrote one of the files.
pub(crate) fn recover_replica(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    store: &StoreAccess,
) -> Result<Recovered, Error> {
    let manifest = read_manifest(&**storage, directory)?;
    remove_leftovers(&**storage, directory, manifest.generation)?;
    let segment_directory = SegmentDirectory {
        storage: Arc::clone(storage),
        path: directory.join(manifest.generation.to_string()),
        index_after_size: manifest.config.index_after_size,
    };
    LogRecovery { segment_directory, manifest, store: store.clone() }.replica()
}

impl LogRecovery {
    fn replica(self) -> Result<Recovered, Error> {
        let bad = |cause: String| unusable(&self.segment_directory.path, cause);
        let watermark =
            self.open_watermark()?.ok_or_else(|| bad("it has no valid watermark".into()))?;
        let mark = watermark.mark();
        let KnownArchive { list, entries, damage } = self.archive()?;
        if let Some(damage) = damage {
            return Err(bad(damage));
        }
        let entries = kept(entries, &mark).map_err(bad)?;
        let end = entries.last().map_or(mark.durable.max(mark.start), |last| last.end);
        self.only_newest(&mark, end, entries.last())?;
        let mut segments: Vec<_> =
            entries.into_iter().map(|entry| Arc::new(self.remote_segment(entry))).collect();
        let storage = Arc::clone(&self.segment_directory.storage);
        segments.push(Arc::new(Segment::empty(storage, &self.segment_directory.path, end)));
        Ok(Recovered {
            view: View { segments: Arc::new(segments), durable: empty_at(end) },
            segment_directory: self.segment_directory,
            manifest: self.manifest,
            end: None,
            watermark: Some(watermark),
            archive: list,
            status: LogStatus::Ok,
            cause: String::new(),
        })
    }

    /// Makes sure that the only segment file is the empty newest one, for backups and for verify.
    fn only_newest(
        &self,
        mark: &Mark,
        base: Position,
        before: Option<&Entry>,
    ) -> Result<(), Error> {
        for other in self.list_segments()?.into_iter().filter(|other| *other != base) {
            let path = self.path(&name::segment(other));
            if_there(self.storage().remove_file(&path))
                .map_err(Error::io("cannot remove", path))?;
        }
        let start = after(before, base, mark.open_epoch);
        if self.prev_crc_of(base)? != Some(start.prev_crc) {
            let begun = self.segment_directory.begin_segment(start);
            begun.map_err(|failure| unusable(&self.segment_directory.path, failure.to_string()))?;
        }
        Ok(())
    }
}

/// The first filler of the segment at `base`, after the last archived one.
pub(crate) fn after(before: Option<&Entry>, base: Position, epoch: u32) -> SegmentStart {
    SegmentStart {
        base,
        prev_crc: before.map_or(0, |entry| entry.seal_crc),
        timestamp_us: before.map_or(0, |entry| entry.last_timestamp_us),
        epoch,
    }
}

/// The durable end of a log whose newest segment has only its first filler.
fn empty_at(position: Position) -> DurableEnd {
    DurableEnd { position, offset: BLOCK_HEADER_BYTES as u64, ..DurableEnd::default() }
}

/// The entries of a log from its start, which must have no gap and reach the durable end.
fn kept(entries: Entries, mark: &Mark) -> Result<Vec<Entry>, String> {
    let entries: Vec<Entry> =
        entries.into_values().filter(|entry| entry.end > mark.start).collect();
    let mut next = match entries.first() {
        Some(first) if first.base > mark.start => {
            return Err(format!("the segments from position {} are missing", mark.start));
        }
        Some(first) => first.base,
        None if mark.durable > mark.start => {
            return Err("the list of archived segments is empty".into());
        }
        None => return Ok(entries),
    };
    for entry in &entries {
        if entry.base != next {
            return Err(format!("the segment at position {next} is missing"));
        }
        next = entry.end;
    }
    match next < mark.durable {
        true => Err(format!("the segments from position {next} are missing")),
        false => Ok(entries),
    }
}
