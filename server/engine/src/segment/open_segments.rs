//! [`OpenSegments`]: keeps the files of recently read segments open.
//!
//! ```text
//! read ─▶ file() ─▶ already kept open? ─yes─▶ use its files
//!                   └no─▶ add to [oldest … newest] ─▶ if full, release the oldest segment
//! ```
//!
//! Without this, a read of one record of an old segment would open two files, and could not avoid
//! waiting for the disk. There is one list for all logs of a catalog, in the order in which the
//! segments were opened. So a segment that is read all the time is reopened once per
//! `segments_max` others. A read of a log whose newest segment is closed adds that segment too.
//!
//! Invariant: at most `segments_max` segments are kept open. The list has weak references only,
//! so it does not keep the files of a removed segment or log open.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use super::Segment;
use crate::storage::File;
use crate::sync::lock;

/// The segments that are kept open; see the module.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    /// Each uses up to two file descriptors.
    segments_max: usize,
    oldest_first: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenSegments {
    /// Keeps up to `segments_max` segments open, but at least one.
    pub(crate) fn new(segments_max: usize) -> OpenSegments {
        OpenSegments { segments_max: segments_max.max(1), oldest_first: Mutex::default() }
    }

    /// Returns a segment's file as [`Segment::reader_file`] does. The file of a sealed segment then stays
    /// open, and so does its index once it is opened. This is for reads by clients. Work that reads
    /// all segments uses [`Segment::file`], so that it releases no other segment.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn file(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn File>> {
        let file = segment.reader_file()?;
        if segment.keep_open() {
            let displaced = self.displaced_by(segment);
            if let Some(displaced) = displaced.and_then(|oldest| oldest.upgrade()) {
                displaced.release();
            }
        }
        Ok(file)
    }

    /// Adds a segment to the list. Returns the oldest segment if it had to leave the list.
    fn displaced_by(&self, segment: &Arc<Segment>) -> Option<Weak<Segment>> {
        let mut oldest_first = lock(&self.oldest_first);
        let is_full = oldest_first.len() >= self.segments_max;
        let oldest = if is_full { oldest_first.pop_front() } else { None };
        oldest_first.push_back(Arc::downgrade(segment));
        oldest
    }
}
