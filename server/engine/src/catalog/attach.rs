//! Attaching: creates a log whose records are in the object store, for a restore.
//!
//! ```text
//! indexes, each as it arrives ─▶ entries ─▶ list, watermark, producers, and an empty newest segment
//!            that names the last seal ─▶ manifest with the lineage ─▶ rename to the log's name
//! ```
//!
//! Nothing is read from the store: reads fetch what they need, and the caller gives the indexes one
//! by one, so that they are never in memory together. Invariant: the directory is that of an intact
//! log with evicted segments.

use std::path::Path;

use styx_protocol::{LogConfig, LogName, Position};

use super::Catalog;
use super::inner::CatalogInner;
use crate::archive::list::{self, Entries};
use crate::archive::{Entry, Lineage};
use crate::commit::failure::Failure;
use crate::commit::roll::{SegmentDirectory, SegmentStart};
use crate::manifest::{ARCHIVED_VERSION, Manifest};
use crate::producers::ProducerTable;
use crate::segment::name;
use crate::storage::{replace_file, write_temporary};
use crate::watermark::{Mark, Watermark};
use crate::{Error, Log, data_directory, restore};

/// A log to create from archived segments.
#[derive(Debug, Clone, Default)]
pub struct Attached {
    /// Its configuration.
    pub config: LogConfig,
    /// Its segments, ascending and without a gap. The log has no record if there are none.
    pub entries: Vec<Entry>,
    /// The position of the first record. It is in the first segment; without segments it is the
    /// position of the next record.
    pub start: Position,
    /// The epoch of the log from which it is restored. The new one gets a higher epoch.
    pub open_epoch: u32,
    /// The producer snapshot at the end of the last segment. Without it, the log knows no
    /// idempotent producers.
    pub producers: Option<Vec<u8>>,
    /// The logs from which it is restored. The last is the one that the entries are from.
    pub lineage: Lineage,
}

/// The index of a segment with this base, or why there are no more.
pub type AttachedIndex = Result<(Position, Vec<u8>), Error>;

impl Catalog {
    /// Creates a log from archived segments, durably, with a new id; blocks. Its records stay in the
    /// object store. Nothing in the data directory that has this name is changed, and a failure
    /// leaves nothing behind.
    ///
    /// `indexes` are the indexes of some segments, in any order. Each is on the disk before the next
    /// is asked for. A segment without one gets it when a read needs it.
    ///
    /// # Errors
    /// [`Error::BadArchive`] if the entries are not the segments of one log, or if the producer
    /// snapshot is not that of the last one. As [`Catalog::create`]; the error of an index.
    pub fn attach(
        &self,
        name: &LogName,
        attached: &Attached,
        indexes: impl IntoIterator<Item = AttachedIndex>,
    ) -> Result<Log, Error> {
        self.0.check_writable(None)?;
        attached.config.validate()?;
        attached.check()?;
        self.0.services.disk_reserve.check(&self.0.options.data_directory, 0)?;
        let reserved = self.0.reserve_new(name)?;
        let placed = self.0.new_id().and_then(|id| {
            let manifest = Manifest {
                version: ARCHIVED_VERSION,
                lineage: attached.lineage.clone(),
                ..Manifest::new(id, 0, attached.config)
            };
            self.0.place_attached(name, &manifest, attached, &mut indexes.into_iter())
        });
        let created = placed.and_then(|()| {
            // The log has no record of its own yet.
            self.0.recover(name).inspect_err(|_| self.0.discard(name))
        });
        reserved.fill(created)
    }
}

impl Attached {
    pub(super) fn check(&self) -> Result<(), Error> {
        let bad = |message: String| Err(Error::BadArchive { message });
        for pair in self.entries.windows(2) {
            if let [entry, next] = pair
                && entry.end != next.base
            {
                return bad(format!(
                    "an archived segment ends at position {}, but the next one begins at {}",
                    entry.end, next.base
                ));
            }
        }
        if let Some(first) = self.entries.first()
            && !(first.base..=first.end).contains(&self.start)
        {
            return bad(format!(
                "the log starts at position {}, but its first segment has {} to {}",
                self.start, first.base, first.end
            ));
        }
        let Some(bytes) = &self.producers else { return Ok(()) };
        match (ProducerTable::decode(bytes), self.entries.last()) {
            (Ok((_, seal_crc, end)), Some(last))
                if seal_crc == last.seal_crc && end == last.end =>
            {
                Ok(())
            }
            _ => bad("the snapshot of the producers is not that of the last segment".into()),
        }
    }
}

impl CatalogInner {
    pub(super) fn place_attached(
        &self,
        name: &LogName,
        manifest: &Manifest,
        attached: &Attached,
        indexes: &mut dyn Iterator<Item = AttachedIndex>,
    ) -> Result<(), Error> {
        let storage = &self.options.storage;
        let temporary = self.unused_path(data_directory::RESTORING)?;
        restore::place(&**storage, &temporary, &self.directory(name), || {
            storage.create_dir(&temporary).map_err(Error::io("cannot create", &temporary))?;
            self.build_attached(&temporary, manifest, attached, indexes)
        })
    }

    fn build_attached(
        &self,
        directory: &Path,
        manifest: &Manifest,
        attached: &Attached,
        indexes: &mut dyn Iterator<Item = AttachedIndex>,
    ) -> Result<(), Error> {
        let storage = &self.options.storage;
        let folder = directory.join(manifest.generation.to_string());
        let failed = |doing| Error::io(doing, directory);
        storage.create_dir(&folder).map_err(failed("cannot create"))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            replace_file(&**storage, &path, bytes).map_err(Error::io("cannot write", path))
        };
        for index in indexes {
            let (base, bytes) = index?;
            // As every index, these are a cache and need no sync.
            let path = folder.join(name::index(base));
            write_temporary(&**storage, &path, &bytes)
                .and_then(|_| storage.rename(&crate::storage::temporary_path(&path), &path))
                .map_err(Error::io("cannot write", path))?;
        }
        let last = attached.entries.last();
        let end = last.map_or(attached.start, |last| last.end);
        let file =
            storage.create(&folder.join(name::WATERMARK)).map_err(failed("cannot create"))?;
        let mark = Mark { open_epoch: attached.open_epoch, start: attached.start, durable: end };
        Watermark::create(&*file, mark).map_err(failed("cannot write"))?;
        if let Some(last) = last {
            let entries: Entries =
                attached.entries.iter().map(|entry| (entry.base, *entry)).collect();
            write(name::ARCHIVE, &list::encode(&entries))?;
            let none = || ProducerTable::default().encode(last.seal_crc, last.end);
            let producers = attached.producers.clone().unwrap_or_else(none);
            write(&name::producers(end), &producers)?;
        }
        let segment_directory = SegmentDirectory {
            storage: std::sync::Arc::clone(storage),
            path: folder,
            index_after_size: manifest.config.index_after_size,
        };
        let start = SegmentStart {
            base: end,
            prev_crc: last.map_or(0, |last| last.seal_crc),
            timestamp_us: last.map_or(0, |last| last.last_timestamp_us),
            epoch: attached.open_epoch,
        };
        segment_directory.begin_segment(start).map_err(|failure| match failure {
            Failure::NoSpace => Error::StorageFull { path: directory.to_owned() },
            Failure::BelowReserve(space) => self.services.disk_reserve.refusal(directory, space),
            Failure::NoDescriptor(error) => failed("cannot create")(error),
            Failure::Broken(cause) => failed("cannot create")(std::io::Error::other(cause)),
        })?;
        storage.sync_dir(directory).map_err(failed("cannot sync"))?;
        replace_file(&**storage, &directory.join(name::MANIFEST), manifest.encode().as_bytes())
            .map_err(failed("cannot write"))
    }
}
