//! The upload of one segment: its file, its index and the producers at its end.
//!
//! ```text
//! check every block, CRC ─▶ PUT .seg ─▶ PUT .idx ─▶ PUT .producers ─▶ HEAD of each
//! ```
//!
//! Invariant: no damaged segment is uploaded, and the bytes that were sent are those that were
//! checked. The manifest names the segment only after this.

use std::ops::Range;

use bytes::Bytes;
use styx_engine::archive::{Entry, SealedSegment};
use styx_protocol::LogId;

use super::Inner;
use crate::keys;
use crate::store::{Error, Kind, SINGLE_BYTES_MAX, Store};

/// Why a segment was not uploaded.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store failed. Another attempt may succeed.
    Store(Error),
    /// The local file cannot be read, or no longer exists.
    Local(String),
    /// The local file is damaged. It must not be archived.
    Damaged(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Store(error) => error.fmt(f),
            Failure::Local(why) | Failure::Damaged(why) => f.write_str(why),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

/// Uploads a segment, as one of [`Settings::uploads`](super::Settings::uploads), and returns its
/// entry.
pub(super) async fn upload(
    inner: &Inner,
    segment: SealedSegment,
    epoch: u32,
    home: LogId,
) -> Result<Entry, Failure> {
    let store = &inner.store;
    let (crc, turn) = inner.checks.check(&segment).await?;
    let _permit = inner.uploads.acquire().await;
    drop(turn);
    let checked = segment.clone();
    let (index, producers) = blocking(move || {
        // The index is a cache. Without it, a restore reads the segment.
        let index = checked.index().ok();
        let producers = checked.producers().map_err(|e| Failure::Local(e.to_string()))?;
        Ok((index, producers))
    })
    .await?;
    let entry = segment.entry(crc, epoch, home);
    let key = keys::segment(&entry);
    let bytes = entry.bytes;
    let read = move |range: Range<u64>| read_range(&segment, range);
    if bytes > SINGLE_BYTES_MAX {
        store.put_in_parts(&key, bytes, crc, read).await?;
    } else {
        let whole = blocking(move || read(0..bytes).map_err(Failure::Local)).await?;
        if crc32c::crc32c(&whole) != crc {
            return Err(Failure::Local("the file changed while it was read".to_owned()));
        }
        store.put(&key, whole).await?;
    }
    confirm(store, &key, bytes, crc).await?;
    for (key, content) in [(keys::index(&entry), index), (keys::producers(&entry), producers)] {
        if let Some(content) = content {
            upload_beside(store, &key, content).await?;
        }
    }
    Ok(entry)
}

/// Uploads an index or a snapshot of producers.
pub(super) async fn upload_beside(store: &Store, key: &str, content: Vec<u8>) -> Result<(), Error> {
    let content = Bytes::from(content);
    let (bytes, crc) = (content.len() as u64, crc32c::crc32c(&content));
    if bytes > SINGLE_BYTES_MAX {
        let read = move |range: Range<u64>| slice(&content, range);
        store.put_in_parts(key, bytes, crc, read).await?;
    } else {
        store.put(key, content).await?;
    }
    confirm(store, key, bytes, crc).await
}

/// Looks whether the store has the bytes that were sent.
async fn confirm(store: &Store, key: &str, bytes: u64, crc: u32) -> Result<(), Error> {
    let found = store.head(key).await.map_err(|e| match e.kind {
        Kind::Missing => {
            Error::new(Kind::Unavailable, e.what, "the store does not have what it accepted")
        }
        _ => e,
    })?;
    // A directory has no place for the checksum. Its files are synced, and read by the scrub.
    if found.bytes != bytes || found.crc.is_some_and(|found| found != crc) {
        let why = format!("the store has other bytes than were sent: {} of {bytes}", found.bytes);
        return Err(Error::new(Kind::Unavailable, format!("head {key}"), why));
    }
    Ok(())
}

fn read_range(segment: &SealedSegment, range: Range<u64>) -> Result<Bytes, String> {
    let length = usize::try_from(range.end - range.start).map_err(|e| e.to_string())?;
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let read = segment.read_at(rest, range.start + filled as u64);
        match read.map_err(|e| e.to_string())? {
            0 => return Err("the file is too short".to_owned()),
            read => filled += read,
        }
    }
    Ok(buffer.into())
}

fn slice(content: &Bytes, range: Range<u64>) -> Result<Bytes, String> {
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
    Ok(content.slice(at(range.start)..at(range.end)))
}

/// Runs a function that blocks.
pub(super) async fn blocking<T: Send + 'static>(
    function: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(function).await {
        Ok(result) => result,
        Err(e) => Err(Failure::Local(e.to_string())),
    }
}
