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

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::block::{Flags, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogStatus, Position};

use crate::Error;
use crate::commit::end::{Cursor, End, Failure, Space};
use crate::commit::roll::Ground;
use crate::manifest::{self, Manifest};
use crate::producers::{self, Table};
use crate::segment::index::{self, Spacing};
use crate::segment::name::{self, FileName};
use crate::segment::walk::{Bodies, Expect, Stop, Walk};
use crate::segment::{Sealed, Segment};
use crate::storage::{Access, File, Storage, read_exact_at, read_file, write_all_at};
use crate::tail::{Durable, View};
use crate::watermark::{Mark, Watermark};

/// What a crash cut off, for somebody who wants to look; newest only.
const TORN_TAIL: &str = "torn-tail";

/// At most so much of a torn tail is kept.
const TORN_BYTES_MAX: u64 = 64 << 20;

/// A log as recovery found it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) ground: Ground,
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
    let ground = Ground {
        storage: Arc::clone(storage),
        directory: folder.clone(),
        index_after_size: manifest.config.index_after_size,
    };
    let scene = Scene { ground, manifest };
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
    ground: Ground,
    manifest: Manifest,
}

/// The newest segment, walked to its first invalid block.
struct Walked {
    file: Arc<dyn File>,
    len: u64,
    cursor: Cursor,
    first: Option<First>,
    epoch: u32,
    sealed: Option<Sealed>,
    entries: Vec<index::Entry>,
    spacing: Spacing,
    producers: Table,
    stop: Stop,
}

#[derive(Clone, Copy)]
struct First {
    salt: u64,
    timestamp_us: u64,
}

impl Scene {
    fn storage(&self) -> &dyn Storage {
        &*self.ground.storage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.ground.directory.join(name)
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
        if walked.first.is_none() {
            faults.push(format!("the segment {newest} does not begin as it should"));
        }
        if mark.durable > walked.cursor.position {
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
            durable.position = durable.position.max(mark.durable);
            return Ok(self.corrupt(segments, durable, faults.join("; ")));
        }
        self.cut_torn_tail(newest, &walked)?;
        self.resume(older, walked, &mut watermark, newest).map(|(view, end)| Recovered {
            manifest: self.manifest,
            ground: self.ground.clone(),
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
            ground: self.ground,
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
        let folder = &self.ground.directory;
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

    /// All segments but the newest, told by their indexes; walked where the index
    /// is missing. Only the last one's seal is looked at here.
    fn sealed_segments(
        &self,
        bases: &[Position],
        newest: Position,
        faults: &mut Vec<String>,
    ) -> Result<Vec<Arc<Segment>>, Error> {
        let mut segments = Vec::with_capacity(bases.len());
        for (i, base) in bases.iter().enumerate() {
            let end = bases.get(i + 1).copied().unwrap_or(newest);
            let sealed = match self.summary(*base)? {
                Ok(sealed) => sealed,
                Err((partial, cause)) => {
                    faults.push(cause);
                    partial
                }
            };
            if sealed.end != end {
                faults.push(format!(
                    "the segment {base} ends at position {}, but the next one begins at {end}",
                    sealed.end
                ));
            }
            let folder = &self.ground.directory;
            let storage = Arc::clone(&self.ground.storage);
            segments.push(Arc::new(Segment::sealed(storage, folder, *base, sealed)));
        }
        Ok(segments)
    }

    /// What a sealed segment's index says of it, or its blocks; with what is
    /// wrong where it turns out not to be sealed.
    fn summary(&self, base: Position) -> Result<Result<Sealed, (Sealed, String)>, Error> {
        let path = self.path(&name::segment(base));
        let failed = |error| Error::io("cannot read", &path)(error);
        let file = self.storage().open(&path, Access::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let index_path = self.path(&name::index(base));
        if let Ok(index) = self.storage().open(&index_path, Access::Read)
            && let Some(sealed) = index::read_summary(&*index, base, len).map_err(failed)?
            && self.has_seal(&*file, &sealed).map_err(failed)?
        {
            return Ok(Ok(sealed));
        }
        self.rebuild_index(&*file, len, base)
    }

    /// Whether the file ends with the seal its index tells of.
    fn has_seal(&self, file: &dyn File, sealed: &Sealed) -> io::Result<bool> {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let Some(at) = sealed.bytes.checked_sub(bytes.len() as u64) else { return Ok(false) };
        read_exact_at(file, &mut bytes, at)?;
        let decoded = Header::decode(&bytes);
        Ok(decoded.is_ok_and(|(header, crc)| {
            crc == sealed.seal_crc && header.base_position == sealed.end.0
        }))
    }

    fn rebuild_index(
        &self,
        file: &dyn File,
        len: u64,
        base: Position,
    ) -> Result<Result<Sealed, (Sealed, String)>, Error> {
        let path = self.path(&name::segment(base));
        let failed = |error| Error::io("cannot read", &path)(error);
        let expect = Expect { base, prev_crc: None };
        let mut walk = Walk::new(file, len, expect, Bodies::Skip);
        let mut spacing = Spacing::new(self.ground.index_after_size);
        let mut entries = Vec::new();
        let mut cursor = Cursor { position: base, ..Cursor::default() };
        let stop = loop {
            match walk.step().map_err(failed)? {
                Ok(block) => {
                    entries.extend(spacing.walked(&block));
                    cursor.pass(&block.header, block.header_crc);
                }
                Err(stop) => break stop,
            }
        };
        let sealed = Sealed {
            end: cursor.position,
            bytes: cursor.offset,
            record_bytes: cursor.record_bytes,
            first_timestamp_us: cursor.first_timestamp_us,
            last_timestamp_us: cursor.last_timestamp_us,
            seal_crc: cursor.prev_crc,
        };
        if stop != Stop::Sealed {
            let cause = format!(
                "the segment {base} is damaged at position {} (byte {}: {})",
                cursor.position,
                cursor.offset,
                describe(&stop)
            );
            return Ok(Err((sealed, cause)));
        }
        let index_path = self.path(&name::index(base));
        if let Err(error) = index::write(self.storage(), &index_path, base, &sealed, &entries) {
            tracing::warn!(%error, path = %index_path.display(), "cannot write an index anew");
        }
        Ok(Ok(sealed))
    }

    /// Walks the newest segment as the device has it.
    fn walk_newest(
        &self,
        base: Position,
        prev_crc: Option<u32>,
        producers: Table,
    ) -> Result<Walked, Error> {
        let path = self.path(&name::segment(base));
        let failed = |doing| Error::io(doing, &path);
        let file = self.storage().open(&path, Access::Write).map_err(failed("cannot open"))?;
        file.sync().map_err(failed("cannot sync"))?;
        file.drop_cache().map_err(failed("cannot drop the cache of"))?;
        let len = file.len().map_err(failed("cannot size"))?;
        let mut walk = Walk::new(&*file, len, Expect { base, prev_crc }, Bodies::Check);
        let mut walked = Walked {
            file: Arc::clone(&file),
            len,
            cursor: Cursor {
                position: base,
                prev_crc: prev_crc.unwrap_or_default(),
                ..Cursor::default()
            },
            first: None,
            epoch: 0,
            sealed: None,
            entries: Vec::new(),
            spacing: Spacing::new(self.ground.index_after_size),
            producers,
            stop: Stop::EndOfFile,
        };
        loop {
            match walk.step() {
                Ok(Ok(block)) => walked.pass(&block),
                Ok(Err(stop)) => {
                    walked.stop = stop;
                    return Ok(walked);
                }
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), offset = walk.offset(), "cannot read a segment");
                    walked.stop = Stop::Invalid("it cannot be read");
                    return Ok(walked);
                }
            }
        }
    }

    fn newest_segment(&self, base: Position, walked: &Walked) -> Segment {
        Segment::newest(
            Arc::clone(&self.ground.storage),
            &self.ground.directory,
            base,
            Arc::clone(&walked.file),
            walked.entries.clone(),
        )
    }

    /// Cuts off what does not belong to the log, durably, before anything is
    /// appended behind it. Zeros to the end are a clean end.
    fn cut_torn_tail(&self, base: Position, walked: &Walked) -> Result<(), Error> {
        let at = walked.cursor.offset;
        if at >= walked.len {
            return Ok(());
        }
        let path = self.path(&name::segment(base));
        let torn = self.copy_aside(&*walked.file, at, walked.len);
        if torn > 0 {
            tracing::warn!(
                path = %path.display(), offset = at, bytes = torn, position = %walked.cursor.position,
                "cut off what a crash left behind the last whole block (never acknowledged)"
            );
        }
        walked.file.set_len(at).map_err(Error::io("cannot cut the torn tail of", &path))?;
        walked.file.sync().map_err(Error::io("cannot sync", &path))
    }

    /// Copies a torn tail aside, best effort, and says how many bytes of it are
    /// not trailing zeros.
    fn copy_aside(&self, file: &dyn File, from: u64, to: u64) -> u64 {
        let mut buffer = vec![0; 1 << 20];
        let mut last_byte = from;
        let mut copy: Option<Arc<dyn File>> = None;
        let path = self.path(TORN_TAIL);
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..want];
            if read_exact_at(file, part, at).is_err() {
                break;
            }
            if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
                last_byte = at + last as u64 + 1;
                if copy.is_none() {
                    let _ = self.storage().remove_file(&path);
                    copy = self.storage().create(&path).ok();
                }
                if let Some(copy) = &copy
                    && at - from < TORN_BYTES_MAX
                {
                    let _ = write_all_at(&**copy, &part[..=last], at - from);
                }
            }
            at += want as u64;
        }
        last_byte - from
    }

    /// The producers as of the newest segment's first block: the newest snapshot
    /// that belongs to this chain, and every block between the two.
    fn producers_before(&self, older: &[Arc<Segment>], newest: Position) -> Result<Table, Error> {
        let mut table = Table::default();
        let mut from = 0;
        for (i, segment) in older.iter().enumerate().rev() {
            let Some(sealed) = segment.summary() else { continue };
            if let Some(read) = self.snapshot(sealed.end, sealed.seal_crc) {
                table = read;
                from = i + 1;
                break;
            }
        }
        if from == 0 {
            let oldest = older.first().map_or(newest, |segment| segment.base);
            let seal_crc = self.prev_crc_of(oldest);
            table = seal_crc.and_then(|crc| self.snapshot(oldest, crc)).unwrap_or_default();
        }
        for segment in older.iter().skip(from) {
            let failed = |error| Error::io("cannot read", &segment.path)(error);
            let file = segment.file().map_err(failed)?;
            let len = segment.summary().map_or(0, |sealed| sealed.bytes);
            let expect = Expect { base: segment.base, prev_crc: None };
            let mut walk = Walk::new(&*file, len, expect, Bodies::Skip);
            while let Ok(block) = walk.step().map_err(failed)? {
                table.replay(&block.header);
            }
        }
        Ok(table)
    }

    /// The snapshot taken at this seal, if it is there and whole.
    fn snapshot(&self, end: Position, seal_crc: u32) -> Option<Table> {
        let path = self.path(&name::producers(end));
        let bytes = read_file(self.storage(), &path, producers::BYTES_MAX).ok()?;
        match Table::decode(&bytes) {
            Some((table, crc, at)) if crc == seal_crc && at == end => Some(table),
            _ => {
                tracing::warn!(path = %path.display(), "this snapshot of the producers is not used");
                None
            }
        }
    }

    /// The seal that a segment's first block says it follows.
    fn prev_crc_of(&self, base: Position) -> Option<u32> {
        let file = self.storage().open(&self.path(&name::segment(base)), Access::Read).ok()?;
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        read_exact_at(&*file, &mut bytes, 0).ok()?;
        Header::decode(&bytes).ok().map(|(header, _)| header.prev_crc)
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
        segments.push(Arc::clone(&segment));
        let first = walked.first.ok_or_else(|| unusable(&segment.path, "it is empty".into()))?;
        let mut end = End {
            segment,
            file: walked.file,
            cursor: walked.cursor,
            salt: first.salt,
            epoch,
            begun_us: first.timestamp_us,
            spacing: walked.spacing,
            producers: walked.producers,
            sealed: walked.sealed,
            space: Space::default(),
        };
        if walked.sealed.is_some() {
            self.ground.roll(&mut end).map_err(|failure| match failure {
                Failure::Full => Error::StorageFull { path: self.ground.directory.clone() },
                Failure::Broken(cause) => unusable(&self.ground.directory, cause),
            })?;
            segments.push(Arc::clone(&end.segment));
        }
        let view = View { segments: Arc::new(segments), durable: end.cursor.durable() };
        Ok((view, end))
    }
}

impl Walked {
    fn pass(&mut self, block: &crate::segment::walk::Block) {
        let header = &block.header;
        self.first
            .get_or_insert(First { salt: header.segment_salt, timestamp_us: header.timestamp_us });
        self.epoch = self.epoch.max(header.open_epoch);
        self.entries.extend(self.spacing.walked(block));
        self.producers.replay(header);
        self.cursor.pass(header, block.header_crc);
        if header.flags.contains(Flags::SEAL) {
            self.sealed = Some(Sealed {
                end: self.cursor.position,
                bytes: self.cursor.offset,
                record_bytes: self.cursor.record_bytes,
                first_timestamp_us: self.cursor.first_timestamp_us,
                last_timestamp_us: self.cursor.last_timestamp_us,
                seal_crc: block.header_crc,
            });
        }
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
