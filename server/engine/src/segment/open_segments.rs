//! [`OpenSegments`]: finished segments that were read of late stay open.
//!
//! ```text
//! read ─▶ file ─▶ already staying? ─▶ its handles
//!                 └no─▶ [oldest … newest] ─▶ the oldest's handles go
//! ```
//!
//! Who reads one record of an old segment would open two files for it, and could not
//! do so without waiting for the disk. One list for all logs of a catalog, in the order
//! of opening: a segment that is read all the time is opened once in
//! [`SEGMENTS_MAX`] others. The handles are the segment's own and the list points to it
//! weakly, so that it keeps no file of a removed segment or log.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use super::Segment;
use crate::storage::File;
use crate::wait::lock;

/// Finished segments that stay open. Each takes two descriptors, so that all take half
/// of the 1,024 that a process has when it asks for no more.
const SEGMENTS_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OpenSegments {
    oldest_first: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenSegments {
    /// A segment's file, opened if nobody has it. Of a finished segment it stays open,
    /// and its index from when that is opened. For reads that were asked for: who goes
    /// through all segments takes [`Segment::file`] and displaces none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn file(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn File>> {
        let file = segment.file()?;
        if segment.stay_open() {
            let displaced = self.displaced_by(segment);
            if let Some(displaced) = displaced.and_then(|oldest| oldest.upgrade()) {
                displaced.let_go();
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
