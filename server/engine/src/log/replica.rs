//! A log of another server, in a read-only catalog: extended when its archive has grown.
//!
//! ```text
//! extend: compare ─▶ next empty segment ─▶ list, synced ─▶ watermark ─▶ publish ─▶ remove files
//! ```
//!
//! Invariant: a published segment is in the list and in the store. A crash between two steps leaves
//! files from which [`recover_replica`](crate::recovery::recover_replica) opens the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use styx_protocol::Position;

use super::Log;
use super::inner::LogInner;
use crate::Error;
use crate::archive::Entry;
use crate::archive::list::{self, ArchiveList, Entries};
use crate::commit::failure::Failure;
use crate::recovery::after;
use crate::segment::{Segment, name};
use crate::storage::{temporary_path, write_temporary};
use crate::sync::lock;
use crate::tail::View;
use crate::watermark::Mark;

/// The result of [`Log::extend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// The log already was as the entries say.
    Unchanged,
    /// The log was changed and published.
    Changed,
    /// Nothing: at this position, the log has another history than the entries.
    Differs(Position),
}

/// How much a log is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// How often [`Catalog::log`](crate::Catalog::log) has returned it.
    pub opened: u64,
    /// Whether a reader waits for its next record.
    pub has_followers: bool,
}

impl Log {
    /// Brings a log of another server up to date: adds archived segments at its end, and removes
    /// those that end at or before `start` from its beginning. Readers that wait are woken. Blocks.
    ///
    /// `entries` are ascending and without a gap. They are the last segments of the log, at least
    /// those after its end. Earlier ones may have other objects than before. The start never moves
    /// back.
    ///
    /// # Errors
    /// The log was removed; I/O. The log is unchanged then, but the next start may find it changed.
    pub fn extend(&self, entries: &[Entry], start: Position) -> Result<Extended, Error> {
        self.0.extend(entries, start)
    }

    /// Stores the index of an archived segment that the log has, or will have. An existing one is
    /// replaced. Blocks.
    ///
    /// # Errors
    /// The log was removed; I/O.
    pub fn put_index(&self, base: Position, bytes: &[u8]) -> Result<(), Error> {
        // A removal of the log takes this lock, so the path is that of this log.
        let _list = lock(&self.0.archive);
        self.0.tail.live_view()?;
        let storage = &*self.0.segment_directory.storage;
        let path = self.0.segment_directory.path.join(name::index(base));
        // As every index, it is a cache and needs no sync.
        write_temporary(storage, &path, bytes)
            .and_then(|_| storage.rename(&temporary_path(&path), &path))
            .map_err(Error::io("cannot write", path))
    }

    /// The archived segments without an index on the disk, ascending. Blocks.
    ///
    /// # Errors
    /// The log's directory cannot be listed.
    pub fn without_index(&self) -> Result<Vec<Entry>, Error> {
        let folder = &self.0.segment_directory.path;
        let listed = self.0.segment_directory.storage.list(folder);
        let listed = listed.map_err(Error::io("cannot list", folder))?;
        let names: HashSet<String> = listed.into_iter().map(|entry| entry.name).collect();
        let entries = self.archived_entries().into_iter();
        Ok(entries.filter(|entry| !names.contains(&name::index(entry.base))).collect())
    }

    /// Whether the log has this archived segment. Never waits.
    #[must_use]
    pub fn has_entry(&self, entry: &Entry) -> bool {
        let view = self.0.tail.view();
        view.segment_of(entry.base).is_some_and(|(_, segment)| segment.entry() == Some(*entry))
    }

    /// Checks that the log may be changed at all.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if it is the log of another server.
    pub fn check_writable(&self) -> Result<(), Error> {
        self.0.check_writable()
    }

    /// Names the server that owns the log, for the errors of requests that would change it.
    pub fn set_owner(&self, owner: &str) {
        let is_open = matches!(self.0.queue.refusal(), Some(Error::ReadOnly { .. }));
        if is_open {
            let owner = Some(owner.to_owned()).filter(|owner| !owner.is_empty());
            self.0.queue.refuse(Error::ReadOnly { owner }, true);
        }
    }

    /// How much the log is used. Never waits.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity {
            opened: self.0.counters.opened.load(Ordering::Relaxed),
            has_followers: self.0.tail.has_followers(),
        }
    }
}

/// The change that [`LogInner::extend`] will make.
struct Plan {
    /// Entries of segments that the log has, with other objects.
    moved: Vec<Entry>,
    new: Vec<Entry>,
    /// The number of segments that are removed from the start.
    removed: usize,
    start: Position,
    end: Position,
}

impl LogInner {
    /// Checks that the log may be changed at all.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        match self.queue.refusal() {
            Some(error @ Error::ReadOnly { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn extend(&self, entries: &[Entry], start: Position) -> Result<Extended, Error> {
        // A removal takes this lock, so the directory is that of this log until the end.
        let mut list = lock(&self.archive);
        let view = self.tail.live_view()?;
        let plan = match plan(&view, entries, start) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(Extended::Unchanged),
            Err(position) => return Ok(Extended::Differs(position)),
        };
        let Plan { moved, new, removed, start, end } = plan;
        let folder = &self.segment_directory.path;
        let epoch = lock(&self.watermark).as_ref().map_or(0, |mark| mark.mark().open_epoch);
        let kept = view.segments.iter().take(view.segments.len().saturating_sub(1)).skip(removed);
        let mut segments: Vec<Arc<Segment>> = kept.cloned().collect();
        let before = new.last().copied().or_else(|| segments.last().and_then(|s| s.entry()));
        let old_end = view.durable.position;
        let (newest, durable) = match (view.segments.last(), end == old_end) {
            (Some(newest), true) => (Arc::clone(newest), view.durable),
            _ => {
                let begun =
                    self.segment_directory.begin_segment(after(before.as_ref(), end, epoch));
                let mut begun = begun.map_err(|failure| self.not_extended(failure))?;
                drop(begun.close_file());
                (begun.segment, begun.cursor.durable())
            }
        };
        let listed: Vec<Entry> = moved.iter().chain(&new).copied().collect();
        let path = list::path(folder);
        let all = || -> Entries {
            let entries = view.segments.iter().filter_map(|segment| segment.entry());
            entries.map(|entry| (entry.base, entry)).collect()
        };
        let list = list.get_or_insert_with(|| {
            let storage = &self.segment_directory.storage;
            Box::new(ArchiveList::absent(storage, path.clone()))
        });
        list.append(&listed, all).map_err(Error::io("cannot write", &path))?;
        if let Some(watermark) = lock(&self.watermark).as_mut() {
            let mark = Mark { open_epoch: epoch, start, durable: end };
            watermark.write(mark).map_err(Error::io("cannot write the watermark of", folder))?;
        }
        for entry in &moved {
            if let Some((_, segment)) = view.segment_of(entry.base) {
                segment.set_archived(*entry, &self.services.store);
            }
        }
        let storage = &self.segment_directory.storage;
        segments.extend(new.iter().map(|entry| {
            let storage = Arc::clone(storage);
            Arc::new(Segment::remote(storage, folder, *entry, &self.services.store))
        }));
        segments.push(newest);
        self.tail.replace(segments, durable);
        for segment in view.segments.iter().take(removed) {
            segment.retire();
            // A missing index is no failure, because it is a cache.
            let _ = storage.remove_file(&segment.index_path());
        }
        if end != old_end {
            // The next start removes it if this fails.
            let _ = storage.remove_file(&folder.join(name::segment(old_end)));
        }
        if let Err(error) = list.compact(&self.tail_entries()) {
            tracing::warn!(log = %self.name, %error, "the list of archived segments could not be made shorter");
        }
        Ok(Extended::Changed)
    }

    fn tail_entries(&self) -> Entries {
        let view = self.tail.view();
        let entries = view.segments.iter().filter_map(|segment| segment.entry());
        entries.map(|entry| (entry.base, entry)).collect()
    }

    /// The error if the next empty segment cannot be created. The log stays usable.
    fn not_extended(&self, failure: Failure) -> Error {
        let folder = &self.segment_directory.path;
        match failure {
            Failure::NoSpace => Error::StorageFull { path: folder.clone() },
            Failure::BelowReserve(space) => self.services.disk_reserve.refusal(folder, space),
            Failure::NoDescriptor(error) => Error::io("cannot open a file in", folder)(error),
            Failure::Broken(cause) => {
                Error::io("cannot extend the log in", folder)(std::io::Error::other(cause))
            }
        }
    }
}

/// Compares a log with its archive. `None` if nothing is to be done.
///
/// # Errors
/// The position at which the histories differ.
fn plan(view: &View, entries: &[Entry], start: Position) -> Result<Option<Plan>, Position> {
    let old_end = view.durable.position;
    let start = start.max(view.start());
    // A segment without records changes nothing.
    let entries = entries.iter().filter(|entry| entry.end > entry.base && entry.end > start);
    let (mut moved, mut new) = (Vec::new(), Vec::<Entry>::new());
    let mut next = None;
    for entry in entries {
        if next.replace(entry.end).is_some_and(|next| next != entry.base) {
            return Err(entry.base);
        }
        if entry.base >= old_end {
            new.push(*entry);
            continue;
        }
        match view.segment_of(entry.base) {
            Some((_, segment))
                if segment.summary().is_some_and(|sealed| entry.is_of(segment.base, sealed)) =>
            {
                if segment.entry() != Some(*entry) {
                    moved.push(*entry);
                }
            }
            _ => return Err(entry.base),
        }
    }
    // Without entries, everything before the start has expired.
    let end = next.unwrap_or(start);
    if end < old_end {
        return Err(end);
    }
    if let Some(first) = new.first()
        && first.base > old_end
        && first.base > start
    {
        return Err(old_end);
    }
    let known = view.segments.iter().map_while(|segment| segment.summary());
    let removed = known.take_while(|sealed| sealed.end <= start).count();
    let is_unchanged = moved.is_empty() && removed == 0 && end == old_end;
    Ok((!is_unchanged).then_some(Plan { moved, new, removed, start, end }))
}
