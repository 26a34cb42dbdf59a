//! [`Watermark`]: a file that says up to which position a log was certainly durable.
//!
//! ```text
//! watermark   slot 0 (4 KiB) | slot 1 (4 KiB)
//! slot        version: u32 | counter: u64 | open_epoch: u32 | start_position: u64
//!             | durable_position: u64 | crc: u32 of the 32 bytes before it | zeros
//! ```
//!
//! The slots are written alternately and in place, and each write is synced. So a torn write leaves
//! the other slot valid. Recovery uses the watermark for a decision that the log's bytes alone do
//! not allow: whether a log that ends early has a torn tail or is damaged. Invariant: a position is
//! written here only after it became durable in the log. A slot of a newer version is never ignored,
//! because it may be the current one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::Position;

use crate::format::Newer;
use crate::storage::{Access, File, Identity, Storage, read_exact_at, write_all_at};

const SLOT_BYTES: u64 = 4096;
const FIELD_BYTES: usize = 36;
const VERSION: u32 = 1;

/// The largest valid counter. No log writes this many marks, so a larger counter is forged. It is
/// rejected, because later marks could not exceed it.
const COUNTER_MAX: u64 = 1 << 63;

/// The size of the file in bytes.
pub(crate) const FILE_BYTES: u64 = 2 * SLOT_BYTES;

/// The content of a slot: the log's open epoch, start position and durable end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) open_epoch: u32,
    pub(crate) start: Position,
    pub(crate) durable: Position,
}

/// The watermark file, with the counter and content of its newest slot. The file is open only while
/// it is read or written, so an idle log needs no descriptor for it.
#[derive(Debug)]
pub(crate) struct Watermark {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    identity: Option<Identity>,
    counter: u64,
    mark: Mark,
}

impl Watermark {
    /// Writes and syncs the first mark of a new, empty file. The caller syncs the directory.
    pub(crate) fn create(file: &dyn File, mark: Mark) -> io::Result<()> {
        write_all_at(file, &vec![0; FILE_BYTES as usize], 0).map_err(|(e, _)| e)?;
        write_slot(file, 1, mark)
    }

    /// Reads the valid slot with the higher counter. Returns `None` if neither slot is valid, and
    /// the inner error if a newer version wrote one of them.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        path: &Path,
    ) -> io::Result<Result<Option<Watermark>, Newer>> {
        let file = storage.open(path, Access::Read)?;
        let identity = file.identity()?;
        let newest = Watermark::read(&*file)?;
        let opened = |(counter, mark)| Watermark {
            storage: Arc::clone(storage),
            path: path.to_owned(),
            identity,
            counter,
            mark,
        };
        Ok(newest.map(|newest| newest.map(opened)))
    }

    /// As [`Watermark::open`], but returns only the counter and the mark.
    pub(crate) fn read(file: &dyn File) -> io::Result<Result<Option<(u64, Mark)>, Newer>> {
        let mut newest: Option<(u64, Mark)> = None;
        for slot in 0..2 {
            let mut bytes = [0; FIELD_BYTES];
            match read_exact_at(file, &mut bytes, slot * SLOT_BYTES) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(e) => return Err(e),
            }
            match decode(&bytes) {
                Ok(Some(read)) if newest.is_none_or(|(counter, _)| read.0 > counter) => {
                    newest = Some(read);
                }
                Ok(_) => {}
                Err(newer) => return Ok(Err(newer)),
            }
        }
        Ok(Ok(newest))
    }

    /// Returns the newest mark in the file.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes a mark to the older slot and syncs it.
    ///
    /// # Errors
    /// The file cannot be opened or written, or another file has its path.
    pub(crate) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let file = self.storage.open(&self.path, Access::Write)?;
        if file.identity()? != self.identity {
            return Err(io::Error::other("the file was replaced while the server ran"));
        }
        self.counter += 1;
        write_slot(&*file, self.counter, mark)?;
        self.mark = mark;
        Ok(())
    }
}

/// Writes a mark and syncs it.
pub(crate) fn write_slot(file: &dyn File, counter: u64, mark: Mark) -> io::Result<()> {
    let slot = counter % 2;
    write_all_at(file, &encode(counter, mark), slot * SLOT_BYTES).map_err(|(e, _)| e)?;
    file.sync()
}

/// Returns the content of a watermark file with this mark, for an archive.
pub(crate) fn file_bytes(mark: Mark) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES as usize];
    let at = SLOT_BYTES as usize;
    bytes[at..at + FIELD_BYTES].copy_from_slice(&encode(1, mark));
    bytes
}

fn encode(counter: u64, mark: Mark) -> [u8; FIELD_BYTES] {
    let mut out = [0; FIELD_BYTES];
    out[0..4].copy_from_slice(&VERSION.to_be_bytes());
    out[4..12].copy_from_slice(&counter.to_be_bytes());
    out[12..16].copy_from_slice(&mark.open_epoch.to_be_bytes());
    out[16..24].copy_from_slice(&mark.start.0.to_be_bytes());
    out[24..32].copy_from_slice(&mark.durable.0.to_be_bytes());
    let crc = crc32fast::hash(&out[..32]);
    out[32..36].copy_from_slice(&crc.to_be_bytes());
    out
}

/// The counter and the mark of a slot; `None` if the slot is invalid.
fn decode(bytes: &[u8; FIELD_BYTES]) -> Result<Option<(u64, Mark)>, Newer> {
    let u32_at = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
    let version = u32_at(0);
    if u32_at(32) != crc32fast::hash(&bytes[..32]) || version < VERSION {
        return Ok(None);
    }
    if version > VERSION {
        return Err(Newer::version(version));
    }
    let counter = u64_at(4);
    if counter > COUNTER_MAX {
        return Ok(None);
    }
    let mark =
        Mark { open_epoch: u32_at(12), start: Position(u64_at(16)), durable: Position(u64_at(24)) };
    Ok(Some((counter, mark)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression test. An archive could contain a watermark with the largest counter. After its
    /// restore, no later mark counted as newer. So damage to records that were acknowledged later
    /// would have been taken for a torn tail and cut off.
    #[test]
    fn a_counter_without_a_successor_is_invalid() {
        let mark = Mark { durable: Position(7), ..Mark::default() };
        let decoded = |counter| decode(&encode(counter, mark));
        assert_eq!(decoded(COUNTER_MAX), Ok(Some((COUNTER_MAX, mark))));
        assert_eq!(decoded(COUNTER_MAX + 1), Ok(None));
        assert_eq!(decoded(u64::MAX), Ok(None));
    }
}
