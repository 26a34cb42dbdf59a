//! Retention: decides which segments have expired. A pure function; the maintainer removes them.
//!
//! Retention removes only complete segments, oldest first, and never the newest. Count and size
//! are upper limits: a segment expires as soon as its first record is beyond the limit. The age
//! of a segment is the age of its newest record, and no segment is older than the one before it.
//!
//! [`expired`] counts the whole log, with its segments in the object store. [`evictable`] chooses
//! files that may be removed from the disk, because they are archived.

use std::sync::Arc;

use styx_protocol::LogConfig;

use crate::archive::LocalLimits;
use crate::segment::{Now, Place, Segment};
use crate::tail::View;

/// Returns how many of the oldest segments have expired now.
pub(crate) fn expired(view: &View, config: &LogConfig, now: &Now) -> usize {
    let mut bytes_from_here = view.bytes();
    let mut expired = 0;
    let mut age_us_max = u64::MAX;
    for segment in view.segments.iter() {
        let Some(sealed) = segment.summary() else { break };
        let records_from_here = view.durable.position.since(segment.base);
        let is_too_old = config.log_max_age >= 0 && sealed.end > segment.base && {
            age_us_max = segment.age_us(now).unwrap_or(0).min(age_us_max);
            exceeds(age_us_max / 1_000_000, config.log_max_age)
        };
        let is_empty = config.log_max_age >= 0 && sealed.end == segment.base;
        let beyond = exceeds(records_from_here, config.log_max_count)
            || exceeds(bytes_from_here, config.log_max_size)
            || is_too_old
            || is_empty;
        if !beyond {
            break;
        }
        bytes_from_here -= sealed.bytes;
        expired += 1;
    }
    // The last segment is the newest, even if it is sealed.
    expired.min(view.segments.len().saturating_sub(1))
}

/// Returns the archived segments whose files are to be removed from the disk, oldest first. The
/// newest sealed segment is not among them, because recovery continues from its producer snapshot.
pub(crate) fn evictable(view: &View, limits: &LocalLimits, now: &Now) -> Vec<Arc<Segment>> {
    let mut local_bytes = view.disk_bytes();
    let sealed = view.segments.len().saturating_sub(2);
    let candidates = view.segments.iter().take(sealed);
    let mut chosen = Vec::new();
    let mut age_us_max = u64::MAX;
    for segment in candidates.filter(|segment| segment.place() == Place::Both) {
        let Some(bytes) = segment.summary().map(|sealed| sealed.bytes) else { break };
        let is_over_size = limits.bytes_max.is_some_and(|max| local_bytes > max);
        let is_over_age = limits.age_max.is_some_and(|max| {
            age_us_max = segment.age_us(now).unwrap_or(0).min(age_us_max);
            age_us_max / 1_000_000 > max.as_secs()
        });
        if !is_over_size && !is_over_age {
            break;
        }
        local_bytes -= bytes;
        chosen.push(Arc::clone(segment));
    }
    chosen
}

/// Whether a value exceeds its limit; -1 means no limit.
pub(crate) fn exceeds(value: u64, limit: i64) -> bool {
    u64::try_from(limit).is_ok_and(|limit| value > limit)
}
