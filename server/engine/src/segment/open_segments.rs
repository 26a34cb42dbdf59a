//! [`OpenSegments`]: sealed segments that were read recently stay open.
//!
//! ```text
//! read ─▶ file ─▶ already kept open? ─▶ its handles
//!                 └no─▶ [oldest … newest] ─▶ the oldest segment's handles are released
//! ```
//!
//! Without this, a read of one record of an old segment would open two files, and could not
//! avoid waiting for the disk. There is one list for all logs of a catalog, in the order of
//! opening: a segment that is read all the time is reopened once per [`SEGMENTS_MAX`] others.
//! The handles belong to the segment. The list refers to segments weakly, so it keeps no file
//! of a removed segment or log open.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use super::Segment;
use crate::storage::File;
use crate::sync::lock;

/// Sealed segments that stay open. Each uses two descriptors, so all of them use half of the
/// default limit of 1,024 per process.
const SEGMENTS_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OpenSegments {
    oldest_first: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenSegments {
    /// A segment's file, opened if it is not open. The file of a sealed segment stays open; its
    /// index does too once it is opened. For reads by clients: work that goes through all segments
    /// uses [`Segment::file`] and displaces none.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn file(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn File>> {
        let file = segment.file()?;
        if segment.keep_open() {
            let displaced = self.displaced_by(segment);
            if let Some(displaced) = displaced.and_then(|oldest| oldest.upgrade()) {
                displaced.release();
            }
        }
        Ok(file)
    }

    fn displaced_by(&self, segment: &Arc<Segment>) -> Option<Weak<Segment>> {
        let mut oldest_first = lock(&self.oldest_first);
        let is_full = oldest_first.len() >= SEGMENTS_MAX;
        let oldest = if is_full { oldest_first.pop_front() } else { None };
        oldest_first.push_back(Arc::downgrade(segment));
        oldest
    }
}
