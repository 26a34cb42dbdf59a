//! Writes the segments of a new log that no one uses yet, for a repair or an import.
//!
//! ```text
//! record ─▶ block in memory ─▶ newest segment ─▶ at a roll: seal, sync, index
//! ```
//!
//! The log has a temporary name, so its files may be synced in any order. All of them are synced
//! before the log gets its final name. Invariant: at most one block is in memory, which is 1 MiB
//! of records or one larger record.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use styx_protocol::block::{Flags, Header};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{Position, record};

use crate::producers::ProducerTable;
use crate::segment::index::{self, IndexEntry, IndexSpacing};
use crate::segment::{Sealed, name};
use crate::storage::{File, Storage, write_all_at};
use crate::watermark::{Mark, Watermark};
use crate::{Error, random};

/// Writes a log from its first record to its last; see the module.
#[derive(Debug)]
pub(crate) struct Writer {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    index_after_size: i64,
    start: Position,
    /// The position of the current block.
    position: Position,
    timestamp_us: u64,
    prev_crc: u32,
    /// The current block: space for its header, then its records so far.
    block: Vec<u8>,
    count: u32,
    /// Where the current record begins in `block`.
    record_at: usize,
    newest: SegmentInProgress,
    rolled: bool,
}

/// The segment that is being written.
#[derive(Debug)]
struct SegmentInProgress {
    base: Position,
    path: PathBuf,
    file: Arc<dyn File>,
    salt: u64,
    /// The `header_crc` of the seal before this segment; 0 in the first segment.
    previous_seal_crc: u32,
    /// The summary of the blocks so far.
    sealed: Sealed,
    spacing: IndexSpacing,
    entries: Vec<IndexEntry>,
}

impl Writer {
    /// Begins a log at position `start`, in an empty generation folder.
    ///
    /// # Errors
    /// I/O, as for all methods.
    pub(crate) fn begin(
        storage: &Arc<dyn Storage>,
        folder: PathBuf,
        index_after_size: i64,
        start: Position,
        timestamp_us: u64,
    ) -> Result<Writer, Error> {
        let storage = Arc::clone(storage);
        let newest = SegmentInProgress::create(&*storage, &folder, index_after_size, start, 0)?;
        let mut writer = Writer {
            storage,
            folder,
            index_after_size,
            start,
            position: start,
            timestamp_us,
            prev_crc: 0,
            block: vec![0; BLOCK_HEADER_BYTES],
            count: 0,
            record_at: 0,
            newest,
            rolled: false,
        };
        writer.write_marker(Flags::FILLER)?;
        Ok(writer)
    }

    /// Begins a new segment if the current one has records. The following records get this time, in
    /// µs since the epoch, or the time before it if that is later.
    pub(crate) fn roll(&mut self, timestamp_us: u64) -> Result<(), Error> {
        self.flush()?;
        if self.position > self.newest.base {
            self.write_marker(Flags::SEAL)?;
            self.sync()?;
            let SegmentInProgress { path, base, sealed, entries, .. } = &self.newest;
            let sealed = Sealed { end: self.position, seal_crc: self.prev_crc, ..*sealed };
            let path = path.with_extension("idx");
            index::write(&*self.storage, &path, *base, &sealed, entries)
                .map_err(Error::io("cannot write", path))?;
            let (base, prev_crc) = (self.position, self.prev_crc);
            self.newest = SegmentInProgress::create(
                &*self.storage,
                &self.folder,
                self.index_after_size,
                base,
                prev_crc,
            )?;
            self.timestamp_us = self.timestamp_us.max(timestamp_us);
            self.rolled = true;
            return self.write_marker(Flags::FILLER);
        }
        self.timestamp_us = self.timestamp_us.max(timestamp_us);
        Ok(())
    }

    /// Sets the time of the following records, in µs since the epoch. Ignored if it is earlier than
    /// the time before it.
    pub(crate) fn set_timestamp(&mut self, timestamp_us: u64) -> Result<(), Error> {
        if timestamp_us > self.timestamp_us {
            self.flush()?;
            self.timestamp_us = timestamp_us;
        }
        Ok(())
    }

    /// Adds a record.
    pub(crate) fn record(&mut self, payload: &[u8]) -> Result<(), Error> {
        let size = u32::try_from(payload.len()).expect("a record is smaller than 4 GiB");
        self.begin_record(size.to_be_bytes())?;
        self.payload(payload);
        self.end_record();
        Ok(())
    }

    /// Bytes of the current segment, without the block in memory.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.newest.sealed.bytes
    }

    /// Begins a record with this size field: the number of payload bytes, big-endian. Add the
    /// payload with [`Writer::payload`], then call [`Writer::end_record`].
    pub(crate) fn begin_record(&mut self, size: [u8; 4]) -> Result<(), Error> {
        let payload = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        let records = self.block.len() - BLOCK_HEADER_BYTES;
        let whole = records.saturating_add(RECORD_HEADER_BYTES).saturating_add(payload);
        if self.count > 0 && whole > BLOCK_RAW_BYTES_MAX {
            self.flush()?;
        }
        self.record_at = self.block.len();
        self.block.extend_from_slice(&[0; 4]);
        self.block.extend_from_slice(&size);
        Ok(())
    }

    /// Adds bytes to the payload of the current record.
    pub(crate) fn payload(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    /// Completes the current record with its checksum.
    pub(crate) fn end_record(&mut self) {
        let at = self.record_at;
        let (size, payload) = self.block[at + 4..].split_at(4);
        let crc = record::checksum(std::array::from_fn(|i| size[i]), payload);
        self.block[at..at + 4].copy_from_slice(&crc.to_be_bytes());
        self.count += 1;
    }

    /// Makes the log durable. The caller syncs the directory above the generation folder. Returns
    /// the first position and the end.
    pub(crate) fn finish(mut self) -> Result<(Position, Position), Error> {
        self.flush()?;
        self.sync()?;
        let create = |name: &str| {
            let path = self.folder.join(name);
            let created = self.storage.create(&path).map_err(Error::io("cannot create", &path))?;
            Ok::<_, Error>((created, path))
        };
        if self.rolled {
            // There are no producers. With this empty snapshot, recovery does not have to read the
            // older segments to find that out.
            let SegmentInProgress { base, previous_seal_crc, .. } = self.newest;
            let bytes = ProducerTable::default().encode(previous_seal_crc, base);
            let (created, path) = create(&name::producers(base))?;
            write_all_at(&*created, &bytes, 0)
                .map_err(|(e, _)| Error::io("cannot write", &path)(e))?;
            created.sync().map_err(Error::io("cannot sync", path))?;
        }
        let (created, path) = create(name::WATERMARK)?;
        let mark = Mark { open_epoch: 0, start: self.start, durable: self.position };
        Watermark::create(&*created, mark).map_err(Error::io("cannot write", path))?;
        let failed = Error::io("cannot sync", &self.folder);
        self.storage.sync_dir(&self.folder).map_err(failed)?;
        Ok((self.start, self.position))
    }

    /// Writes the current block if it has records, and begins the next one.
    fn flush(&mut self) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        let body = &self.block[BLOCK_HEADER_BYTES..];
        let size = u32::try_from(body.len()).expect("sizes are below 2 GiB");
        let header = Header {
            count: self.count,
            body_size: size,
            raw_size: size,
            body_crc: crc32fast::hash(body),
            ..self.header(Flags::NONE)
        };
        self.write_block(&header)?;
        if self.block.capacity() > 2 * BLOCK_RAW_BYTES_MAX {
            self.block = Vec::new();
        }
        self.block.resize(BLOCK_HEADER_BYTES, 0);
        self.count = 0;
        Ok(())
    }

    /// Writes a block without records.
    fn write_marker(&mut self, flags: Flags) -> Result<(), Error> {
        debug_assert_eq!(self.count, 0, "the current block is written before a marker");
        self.block.truncate(BLOCK_HEADER_BYTES);
        self.write_block(&self.header(flags))
    }

    /// The header of a block without records at the current position.
    fn header(&self, flags: Flags) -> Header {
        Header {
            flags,
            base_position: self.position.0,
            timestamp_us: self.timestamp_us,
            segment_salt: self.newest.salt,
            prev_crc: self.prev_crc,
            durable_position: self.position.0,
            ..Header::default()
        }
    }

    /// Writes the bytes of `block` with this header to the newest segment.
    fn write_block(&mut self, header: &Header) -> Result<(), Error> {
        let (encoded, crc) = header.encode();
        self.block[..BLOCK_HEADER_BYTES].copy_from_slice(&encoded);
        let newest = &mut self.newest;
        let sealed = &mut newest.sealed;
        write_all_at(&*newest.file, &self.block, sealed.bytes)
            .map_err(|(e, _)| Error::io("cannot write", &newest.path)(e))?;
        newest.entries.extend(newest.spacing.entry(sealed.bytes, header, crc));
        if header.count > 0 {
            if sealed.record_bytes == 0 {
                sealed.first_timestamp_us = header.timestamp_us;
            }
            sealed.last_timestamp_us = header.timestamp_us;
        }
        sealed.bytes += header.block_bytes();
        sealed.record_bytes += u64::from(header.raw_size);
        self.prev_crc = crc;
        self.position = Position(header.end_position());
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        self.newest.file.sync().map_err(Error::io("cannot sync", &self.newest.path))
    }
}

impl SegmentInProgress {
    fn create(
        storage: &dyn Storage,
        folder: &std::path::Path,
        index_after_size: i64,
        base: Position,
        previous_seal_crc: u32,
    ) -> Result<SegmentInProgress, Error> {
        let path = folder.join(name::segment(base));
        let failed = |error: io::Error| Error::io("cannot create", &path)(error);
        let file = storage.create(&path).map_err(failed)?;
        let salt = random::u64().map_err(failed)?;
        let sealed = Sealed {
            end: base,
            bytes: 0,
            record_bytes: 0,
            first_timestamp_us: 0,
            last_timestamp_us: 0,
            seal_crc: 0,
        };
        let spacing = IndexSpacing::new(index_after_size);
        Ok(SegmentInProgress {
            base,
            file,
            salt,
            previous_seal_crc,
            sealed,
            spacing,
            entries: Vec::new(),
            path,
        })
    }
}
