//! Recovery of a log with archived segments: which files may be missing.
//!
//! ```text
//! file     ─▶ local, or both if the list has its entry
//! no file  ─▶ remote if the list has its entry; otherwise missing, which is damage
//! ```
//!
//! The newest segment is always a file. Invariant: a segment without a file belongs to the log only
//! if its entry is in the list.

use std::sync::Arc;

use styx_protocol::Position;

use super::LogRecovery;
use crate::Error;
use crate::archive::Entry;
use crate::archive::list::{self, ArchiveList, Entries};
use crate::format::Unusable;
use crate::segment::{Segment, name};
use crate::storage::if_there;
use crate::watermark::Watermark;

/// A segment that has a file, an entry, or both.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownSegment {
    pub(super) base: Position,
    pub(super) has_file: bool,
    pub(super) entry: Option<Entry>,
}

/// The list of archived segments, with its entries.
#[derive(Debug)]
pub(super) struct KnownArchive {
    /// `None` if the file does not exist.
    pub(super) list: Option<Box<ArchiveList>>,
    pub(super) entries: Entries,
    /// Why an existing list cannot be used.
    pub(super) damage: Option<String>,
}

impl LogRecovery {
    /// Reads the list of archived segments. A damaged one has no entries, so that missing files are
    /// damage.
    pub(super) fn archive(&self) -> Result<KnownArchive, Error> {
        let path = list::path(&self.segment_directory.path);
        let opened = ArchiveList::open(&self.segment_directory.storage, path.clone());
        let (list, entries) = opened.map_err(Error::io("cannot read", &path))?;
        let (entries, damage) = match entries {
            Ok(entries) => (entries, None),
            Err(Unusable::Newer(newer)) => return Err(newer.error(path)),
            Err(Unusable::Damaged(cause)) => {
                tracing::warn!(path = %path.display(), cause, "ignored a damaged file; the archiver writes it again");
                (Entries::new(), Some(cause))
            }
        };
        let list = list.exists().then(|| Box::new(list));
        Ok(KnownArchive { list, entries, damage })
    }

    /// Completes a trim that a crash interrupted: removes the segments that end at or before the
    /// start in the watermark. The watermark is written again before, because the one that was read
    /// may be only in the page cache.
    pub(super) fn remove_trimmed(
        &self,
        known: &mut Vec<KnownSegment>,
        watermark: &mut Watermark,
    ) -> Result<(), Error> {
        let mark = watermark.mark();
        let start = mark.start;
        // An entry may have no successor, so its own end counts too.
        known.retain(|segment| {
            segment.has_file || segment.entry.is_some_and(|entry| entry.end > start)
        });
        let kept = known.partition_point(|segment| segment.base <= start).saturating_sub(1);
        if kept > 0 {
            let path = self.path(name::WATERMARK);
            watermark.write(mark).map_err(Error::io("cannot write", path))?;
        }
        for KnownSegment { base, has_file, .. } in known.drain(..kept) {
            if has_file {
                let path = self.path(&name::segment(base));
                if_there(self.storage().remove_file(&path))
                    .map_err(Error::io("cannot remove", path))?;
            }
            let _ = self.storage().remove_file(&self.path(&name::index(base)));
        }
        Ok(())
    }

    /// Whether a segment with a file names the seal of the remote segment before it. Adds a text to
    /// `problems` if it does not. Between two files this is left to the scrub and to verify.
    pub(super) fn check_border(
        &self,
        before: &Segment,
        base: Position,
        problems: &mut Vec<String>,
    ) -> Result<(), Error> {
        let Some(sealed) = before.summary().filter(|_| before.is_remote()) else { return Ok(()) };
        match self.prev_crc_of(base)? {
            Some(prev_crc) if prev_crc == sealed.seal_crc => {}
            Some(_) => problems.push(format!(
                "the segment {base} does not follow the archived segment {}",
                before.base
            )),
            None => problems.push(format!("the segment {base} does not begin with a valid block")),
        }
        Ok(())
    }

    /// An archived segment without a file.
    pub(super) fn remote_segment(&self, entry: Entry) -> Segment {
        let storage = Arc::clone(&self.segment_directory.storage);
        Segment::remote(storage, &self.segment_directory.path, entry, &self.store)
    }

    /// Notes that a segment with a file is archived, if the entry is of this segment.
    pub(super) fn note_archived(&self, segment: &Segment, entry: Option<Entry>) {
        let (Some(entry), Some(sealed)) = (entry, segment.summary()) else { return };
        match entry.is_of(segment.base, sealed) {
            true => segment.set_archived(entry, &self.store),
            false => {
                tracing::warn!(path = %segment.path.display(), "the list of archived segments has an entry of another segment with this name");
            }
        }
    }
}

/// Joins the segments that have a file with those that have an entry, ascending.
pub(super) fn join(files: &[Position], entries: &Entries) -> Vec<KnownSegment> {
    let of_file = |base: &Position| KnownSegment {
        base: *base,
        has_file: true,
        entry: entries.get(base).copied(),
    };
    let remote = entries.values().filter(|entry| files.binary_search(&entry.base).is_err());
    let of_entry =
        |entry: &Entry| KnownSegment { base: entry.base, has_file: false, entry: Some(*entry) };
    let mut known: Vec<_> = files.iter().map(of_file).chain(remote.map(of_entry)).collect();
    known.sort_unstable_by_key(|segment| segment.base);
    known
}
