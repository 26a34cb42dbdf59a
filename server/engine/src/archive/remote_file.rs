//! [`RemoteFile`]: an archived segment as a [`File`], so that everything that reads segments can
//! read evicted ones.
//!
//! ```text
//! OnMiss::Fail   a reader: bytes that are not in the cache are the error NeedsStore
//! OnMiss::Wait   work on a thread of its own: they are fetched, and the thread waits
//! ```
//!
//! Invariant: with [`OnMiss::Fail`], no read waits.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::depot::wait;
use super::{Depot, Entry, Kept, StoreError};
use crate::storage::File;
use crate::sync::lock;

/// A read that waits fetches at least this many bytes: 1 MiB.
const FETCH_BYTES_MIN: u64 = 1 << 20;
/// It returns at most this many bytes at a time, which the cache certainly keeps.
const READ_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct RemoteFile {
    entry: Entry,
    depot: Arc<dyn Depot>,
    on_miss: OnMiss,
}

/// What a read does if the bytes are not in the cache.
#[derive(Debug)]
enum OnMiss {
    Fail,
    Wait { at_most: Duration, kept: Mutex<Option<Kept>> },
}

/// The error of a read whose bytes have to be fetched first.
#[derive(Debug, thiserror::Error)]
#[error("the bytes {range:?} of an archived segment are not in the cache")]
pub(crate) struct NeedsStore {
    pub(crate) entry: Entry,
    pub(crate) range: Range<u64>,
}

impl RemoteFile {
    /// A file whose reads fail with [`NeedsStore`] instead of waiting.
    pub(crate) fn new(entry: Entry, depot: Arc<dyn Depot>) -> RemoteFile {
        RemoteFile { entry, depot, on_miss: OnMiss::Fail }
    }

    /// A file whose reads wait for the store, each for at most this time without any progress.
    pub(crate) fn waiting(entry: Entry, depot: Arc<dyn Depot>, at_most: Duration) -> RemoteFile {
        let on_miss = OnMiss::Wait { at_most, kept: Mutex::default() };
        RemoteFile { entry, depot, on_miss }
    }

    fn fetch(&self, offset: u64, len: u64, at_most: Duration) -> io::Result<Kept> {
        let end = offset.saturating_add(len.max(FETCH_BYTES_MIN)).min(self.entry.bytes);
        let ahead = FETCH_BYTES_MIN.min(self.entry.bytes - end);
        match wait(self.depot.fetch(&self.entry, offset..end, ahead), at_most) {
            Some(fetched) => fetched.map_err(io_error),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                StoreError::Unavailable("it did not answer in time".into()),
            )),
        }
    }
}

/// The range that a failed read needs, if that is why it failed.
pub(crate) fn needed(error: &io::Error) -> Option<&NeedsStore> {
    error.get_ref()?.downcast_ref()
}

/// The failure of the store behind a failed read, if that is why it failed.
pub(crate) fn store_error(error: &io::Error) -> Option<&StoreError> {
    error.get_ref()?.downcast_ref()
}

fn io_error(error: StoreError) -> io::Error {
    let kind = match error {
        // Not `NotFound`, which stands for a file that retention has removed.
        StoreError::Missing | StoreError::Damaged(_) => io::ErrorKind::InvalidData,
        StoreError::Unavailable(_) => io::ErrorKind::TimedOut,
    };
    io::Error::new(kind, error)
}

impl File for RemoteFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.entry.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        if len == 0 {
            return Ok(0);
        }
        let (at_most, kept) = match &self.on_miss {
            OnMiss::Fail => {
                let buf = &mut buf[..len];
                if self.depot.read_cached(&self.entry, offset, buf) {
                    return Ok(len);
                }
                let needs = NeedsStore { entry: self.entry, range: offset..offset + len as u64 };
                return Err(io::Error::other(needs));
            }
            OnMiss::Wait { at_most, kept } => (*at_most, kept),
        };
        let len = len.min(READ_BYTES_MAX);
        let buf = &mut buf[..len];
        if self.depot.read_cached(&self.entry, offset, buf) {
            return Ok(len);
        }
        let fetched = self.fetch(offset, len as u64, at_most)?;
        let is_read = self.depot.read_cached(&self.entry, offset, buf);
        *lock(kept) = Some(fetched);
        match is_read {
            true => Ok(len),
            false => Err(io::Error::other(StoreError::Unavailable(
                "the cache did not keep the bytes that were fetched".into(),
            ))),
        }
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        match self.on_miss {
            OnMiss::Fail => self.read_at(buf, offset).map(Some),
            OnMiss::Wait { .. } => Ok(None),
        }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.entry.bytes)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_remote(&self) -> bool {
        true
    }
}
