//! [`Manifest`]: which segments of a log are archived. The register of a log has one.
//!
//! ```text
//! "STXM" | crc: u32 of bytes 8.. | version: u32 | write id: u128
//! | name: text | id: u128 | config: 8 × i64 | lineage: u32 count, (id: u128, fork: u64) each
//! | epoch: u32 | claim: u128 | owner: u128 | owner's name: text | start: u64
//! | deleted: u8 (0, 1, or 2 while it is being removed), since: u64
//! | pages: u32 count, (base: u64, end: u64, epoch: u32, entries: u32, bytes: u64, crc: u32) each
//! | entries: u32 count, 80 bytes each
//! | garbage: u32 count, (base: u64, end: u64, epoch: u32, kind: u8, since: u64) each
//! text   length: u8 | UTF-8
//! ```
//!
//! Pages and entries together describe the archived part of the log without a gap, beginning at or
//! before `start`. Garbage are objects that may be removed after a time of grace. Invariant: an object is
//! named by the manifest, as an entry, page or garbage, until after it was removed.

pub mod page;

use bytes::Bytes;
use styx_engine::archive::{Ancestor, ENTRY_BYTES, Encoder, Entry, Fields, Lineage};
use styx_protocol::{LogConfig, LogId, LogName, Position};

use crate::keys::File;

const MAGIC: [u8; 4] = *b"STXM";
const VERSION: u32 = 1;

/// The largest manifest, in bytes.
pub const BYTES_MAX: u64 = 16 << 20;

const PAGES_MAX: usize = 65_536;
const ENTRIES_MAX: usize = 2 * page::ENTRIES;

/// The most garbage. More expired entries stay in place until some of it was removed.
pub const GARBAGE_MAX: usize = 200_000;

const PAGE_BYTES: usize = 36;
const GARBAGE_BYTES: usize = 29;

/// The number of entries at which the oldest become a page. The newest 128 stay in the manifest.
const SPILL_AT: usize = page::ENTRIES + 128;

/// Why a manifest or a page cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The bytes differ from those that were written.
    #[error("the object is damaged")]
    Damaged,
    /// A newer version of Styx wrote it.
    #[error("version {0} is newer than this program: use a newer version of styx")]
    Newer(u32),
}

/// The archived part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Differs for each write, so that a writer recognises its own.
    pub write_id: u128,
    /// The name of the log.
    pub name: LogName,
    /// The id of the log.
    pub id: LogId,
    /// The configuration of the log.
    pub config: LogConfig,
    /// The logs from which this one was restored.
    pub lineage: Lineage,
    /// The open epoch of the log at the last write. It never becomes lower.
    pub epoch: u32,
    /// A random number of the process that has claimed the epoch. Two copies of a data directory
    /// can open a log with the same epoch, but only one can claim it.
    pub claim: u128,
    /// The server that archives the log.
    pub owner: Owner,
    /// The start position of the log. Entries that end at or before it have expired.
    pub start: Position,
    /// If the log was deleted or truncated: since when, by the clock of the store. 0 if the
    /// collector has not seen it yet.
    pub deleted_us: Option<u64>,
    /// Whether the collector has begun to remove the objects of a deleted log. Then it cannot be
    /// undeleted. `false` unless the log was deleted.
    pub is_being_removed: bool,
    /// Pages of entries, ascending.
    pub pages: Vec<Page>,
    /// The entries after those of the pages, ascending.
    pub entries: Vec<Entry>,
    /// Objects that may be removed after a time of grace.
    pub garbage: Vec<Garbage>,
}

/// A server that archives logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// A random number of the data directory. A copy of the directory has the same, and is told
    /// from the original by the claim.
    pub id: u128,
    /// How people call it: the name of the machine. At most 255 bytes.
    pub name: String,
}

/// A page of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The base of its first entry.
    pub base: Position,
    /// The end of its last entry.
    pub end: Position,
    /// The epoch in which it was written.
    pub epoch: u32,
    /// The number of its entries.
    pub entries: u32,
    /// The bytes of the segments of its entries.
    pub bytes: u64,
    /// The CRC-32C of the page.
    pub crc: u32,
}

/// An object, or the objects of a segment, that may be removed after a time of grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage {
    /// The kind of its objects.
    pub kind: GarbageKind,
    /// The position of its first record.
    pub base: Position,
    /// The position after its last record.
    pub end: Position,
    /// The epoch in which it was written.
    pub epoch: u32,
    /// A time at which it was garbage already, by the clock of the store, in µs. 0 if the collector
    /// has not seen it yet.
    pub since_us: u64,
}

/// The kind of a piece of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageKind {
    /// The objects of a segment.
    Segment,
    /// A page.
    Page,
}

impl Garbage {
    /// Its objects.
    pub fn files(&self) -> Vec<File> {
        let Garbage { base, end, epoch, .. } = *self;
        match self.kind {
            GarbageKind::Segment => files_of(base, end, epoch).to_vec(),
            GarbageKind::Page => vec![File::Page { base, epoch }],
        }
    }
}

/// The objects of a segment. Not every segment has producers.
pub fn files_of(base: Position, end: Position, epoch: u32) -> [File; 3] {
    [File::Segment { base, epoch }, File::Index { base, epoch }, File::Producers { end, epoch }]
}

impl Manifest {
    /// The manifest of a log of which nothing is archived.
    pub fn new(name: LogName, id: LogId, config: LogConfig, epoch: u32, owner: Owner) -> Manifest {
        Manifest {
            write_id: 0,
            name,
            id,
            config,
            lineage: Lineage::default(),
            epoch,
            claim: 0,
            owner,
            start: Position(0),
            deleted_us: None,
            is_being_removed: false,
            pages: Vec::new(),
            entries: Vec::new(),
            garbage: Vec::new(),
        }
    }

    /// The position after the last archived record. `None` if nothing is archived.
    pub fn end(&self) -> Option<Position> {
        let newest = self.entries.last().map(|entry| entry.end);
        newest.or_else(|| self.pages.last().map(|page| page.end))
    }

    /// The number of archived segments and the bytes of their files.
    pub fn size(&self) -> (u64, u64) {
        let pages = self.pages.iter().map(|page| (u64::from(page.entries), page.bytes));
        let entries = self.entries.iter().map(|entry| (1, entry.bytes));
        pages.chain(entries).fold((0, 0), |(segments, bytes), (more, larger)| {
            (segments + more, bytes.saturating_add(larger))
        })
    }

    /// Adds the next archived segment. An entry that does not follow without a gap is ignored.
    pub fn add(&mut self, entry: Entry) {
        if self.is_next(&entry) {
            self.entries.push(entry);
        }
    }

    /// Begins the manifest of a log with this lineage with the segments that belong to other logs.
    ///
    /// A log that was copied by hand reads objects of logs that its lineage lacks. They are added,
    /// so that the collector keeps their objects.
    pub fn inherit(&mut self, lineage: &Lineage, entries: Vec<Entry>) {
        self.lineage = lineage.clone();
        for of_home in entries.chunk_by(|a, b| a.home == b.home) {
            if let Some(last) = of_home.last()
                && self.lineage.fork(last.home).is_none()
            {
                self.lineage = self.lineage.restored(last.home, last.end);
            }
        }
        entries.into_iter().for_each(|entry| self.add(entry));
    }

    /// Whether `entry` follows the archived part without a gap.
    pub fn is_next(&self, entry: &Entry) -> bool {
        self.end().is_none_or(|end| end == entry.base)
    }

    /// Raises the start, and turns expired entries into garbage. Returns the pages whose entries
    /// have all expired: the caller reads them and calls [`Manifest::expire_page`].
    pub fn raise_start(&mut self, start: Position) -> Vec<Page> {
        self.start = self.start.max(start);
        let start = self.start;
        let pages: Vec<Page> =
            self.pages.iter().take_while(|page| page.end <= start).copied().collect();
        if pages.is_empty() && self.pages.is_empty() {
            let expired = self.entries.iter().take_while(|entry| entry.end <= start).count();
            let room = GARBAGE_MAX.saturating_sub(self.garbage.len());
            let expired: Vec<Entry> = self.entries.drain(..expired.min(room)).collect();
            self.discard(&expired);
        }
        pages
    }

    /// Turns the first page and its entries into garbage. Returns `false` if there is no room for
    /// more garbage.
    pub fn expire_page(&mut self, page: Page, entries: &[Entry]) -> bool {
        let room = GARBAGE_MAX.saturating_sub(self.garbage.len());
        if self.pages.first() != Some(&page) || entries.len() + 1 > room {
            return false;
        }
        self.pages.remove(0);
        let Page { base, end, epoch, .. } = page;
        self.garbage.push(Garbage { kind: GarbageKind::Page, base, end, epoch, since_us: 0 });
        self.discard(entries);
        true
    }

    /// Makes garbage of entries whose objects belong to this log. Those of the logs from which it
    /// was restored stay.
    fn discard(&mut self, entries: &[Entry]) {
        let kind = GarbageKind::Segment;
        for entry in entries.iter().filter(|entry| entry.home == self.id) {
            let Entry { base, end, epoch, .. } = *entry;
            self.garbage.push(Garbage { kind, base, end, epoch, since_us: 0 });
        }
    }

    /// If there are many entries: the oldest, as a page to be written before this manifest.
    pub fn spill(&mut self) -> Option<(Page, Bytes)> {
        if self.entries.len() < SPILL_AT || self.pages.len() >= PAGES_MAX {
            return None;
        }
        let old: Vec<Entry> = self.entries.drain(..page::ENTRIES).collect();
        let bytes = page::encode(&old);
        let (first, last) = (old.first()?, old.last()?);
        let page = Page {
            base: first.base,
            end: last.end,
            epoch: self.epoch,
            entries: u32::try_from(old.len()).ok()?,
            bytes: old.iter().fold(0, |sum, entry| entry.bytes.saturating_add(sum)),
            crc: crc32c::crc32c(&bytes),
        };
        self.pages.push(page);
        Some((page, bytes))
    }

    /// The bytes of the manifest.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::new(MAGIC, VERSION);
        encoder.u128(self.write_id);
        encoder.text(self.name.as_str());
        encoder.u128(self.id.0);
        for number in numbers(&self.config) {
            encoder.put(number.to_be_bytes());
        }
        encoder.count(self.lineage.ancestors().len());
        for ancestor in self.lineage.ancestors() {
            encoder.u128(ancestor.id.0);
            encoder.u64(ancestor.fork.0);
        }
        encoder.u32(self.epoch);
        encoder.u128(self.claim);
        encoder.u128(self.owner.id);
        encoder.text(&self.owner.name);
        encoder.u64(self.start.0);
        encoder.put([u8::from(self.deleted_us.is_some()) + u8::from(self.is_being_removed)]);
        encoder.u64(self.deleted_us.unwrap_or(0));
        encoder.count(self.pages.len());
        for page in &self.pages {
            encoder.u64(page.base.0);
            encoder.u64(page.end.0);
            encoder.u32(page.epoch);
            encoder.u32(page.entries);
            encoder.u64(page.bytes);
            encoder.u32(page.crc);
        }
        encoder.count(self.entries.len());
        for entry in &self.entries {
            encoder.put(entry.encode());
        }
        encoder.count(self.garbage.len());
        for garbage in &self.garbage {
            encoder.u64(garbage.base.0);
            encoder.u64(garbage.end.0);
            encoder.u32(garbage.epoch);
            encoder.put([match garbage.kind {
                GarbageKind::Segment => 0,
                GarbageKind::Page => 1,
            }]);
            encoder.u64(garbage.since_us);
        }
        encoder.finish().into()
    }

    /// Decodes a manifest.
    ///
    /// # Errors
    /// The bytes are damaged, or a newer version of Styx wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Unusable> {
        let (version, fields) = Fields::open(bytes, MAGIC).ok_or(Unusable::Damaged)?;
        if version != VERSION {
            return Err(Unusable::Newer(version));
        }
        let manifest = decode_fields(fields).ok_or(Unusable::Damaged)?;
        match manifest.is_possible() {
            true => Ok(manifest),
            false => Err(Unusable::Damaged),
        }
    }

    /// Whether pages and entries are in order and without a gap.
    fn is_possible(&self) -> bool {
        let page_is_possible = |page: &Page| {
            page.base <= page.end && (1..=page::ENTRIES).contains(&(page.entries as usize))
        };
        let follows = |pair: &[Page]| matches!(pair, [a, b] if a.end == b.base);
        let first = self.entries.first().map(|entry| entry.base);
        self.pages.iter().all(page_is_possible)
            && self.pages.windows(2).all(follows)
            && are_contiguous(&self.entries)
            && first.is_none_or(|first| self.pages.last().is_none_or(|page| page.end == first))
    }
}

fn decode_fields(mut fields: Fields<'_>) -> Option<Manifest> {
    let write_id = fields.u128()?;
    let name = fields.text()?.parse().ok()?;
    let id = LogId(fields.u128()?);
    let config = decode_config(&mut fields)?;
    let lineage = fields.items(Lineage::MAX, 24, |fields| {
        Some(Ancestor { id: LogId(fields.u128()?), fork: Position(fields.u64()?) })
    })?;
    let lineage = Lineage::new(lineage);
    let epoch = fields.u32()?;
    let claim = fields.u128()?;
    let owner = Owner { id: fields.u128()?, name: fields.text()? };
    let start = Position(fields.u64()?);
    let (deleted_us, is_being_removed) = match (fields.u8()?, fields.u64()?) {
        (0, 0) => (None, false),
        (1, since) => (Some(since), false),
        (2, since) => (Some(since), true),
        _ => return None,
    };
    let pages = fields.items(PAGES_MAX, PAGE_BYTES, |fields| {
        Some(Page {
            base: Position(fields.u64()?),
            end: Position(fields.u64()?),
            epoch: fields.u32()?,
            entries: fields.u32()?,
            bytes: fields.u64()?,
            crc: fields.u32()?,
        })
    })?;
    let entries =
        fields.items(ENTRIES_MAX, ENTRY_BYTES, |fields| Entry::decode(&fields.take()?))?;
    let garbage = fields.items(GARBAGE_MAX, GARBAGE_BYTES, |fields| {
        Some(Garbage {
            base: Position(fields.u64()?),
            end: Position(fields.u64()?),
            epoch: fields.u32()?,
            kind: match fields.u8()? {
                0 => GarbageKind::Segment,
                1 => GarbageKind::Page,
                _ => return None,
            },
            since_us: fields.u64()?,
        })
    })?;
    fields.is_at_end().then_some(Manifest {
        write_id,
        name,
        id,
        config,
        lineage,
        epoch,
        claim,
        owner,
        start,
        deleted_us,
        is_being_removed,
        pages,
        entries,
        garbage,
    })
}

fn numbers(config: &LogConfig) -> [i64; 8] {
    [
        config.max_record_size,
        config.index_after_size,
        config.segment_max_count,
        config.segment_max_size,
        config.segment_max_age,
        config.log_max_count,
        config.log_max_size,
        config.log_max_age,
    ]
}

fn decode_config(fields: &mut Fields<'_>) -> Option<LogConfig> {
    let mut number = || fields.take().map(i64::from_be_bytes);
    Some(LogConfig {
        max_record_size: number()?,
        index_after_size: number()?,
        segment_max_count: number()?,
        segment_max_size: number()?,
        segment_max_age: number()?,
        log_max_count: number()?,
        log_max_size: number()?,
        log_max_age: number()?,
    })
}

/// Whether each entry begins where the one before it ends.
pub fn are_contiguous(entries: &[Entry]) -> bool {
    entries.windows(2).all(|pair| matches!(pair, [a, b] if a.end == b.base))
}

#[cfg(test)]
mod tests;
