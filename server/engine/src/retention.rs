//! Retention: decides which segments have expired. A pure function; the maintainer removes them.
//!
//! Retention removes only complete segments, oldest first, and never the newest. Count and size
//! are upper limits: a segment expires as soon as its first record is beyond the limit. The age
//! of a segment is the age of its newest record.

use styx_protocol::LogConfig;

use crate::tail::View;

/// Returns how many of the oldest segments have expired at the time `now_us`.
pub(crate) fn expired(view: &View, config: &LogConfig, now_us: u64) -> usize {
    let mut bytes_from_here = view.disk_bytes();
    let mut expired = 0;
    for segment in view.segments.iter() {
        let Some(sealed) = segment.summary() else { break };
        let records_from_here = view.durable.position.since(segment.base);
        let age_us = now_us.saturating_sub(sealed.last_timestamp_us);
        let beyond = exceeds(records_from_here, config.log_max_count)
            || exceeds(bytes_from_here, config.log_max_size)
            || exceeds(age_us / 1_000_000, config.log_max_age);
        if !beyond {
            break;
        }
        bytes_from_here -= sealed.bytes;
        expired += 1;
    }
    // The last segment is the newest, even if it is sealed.
    expired.min(view.segments.len().saturating_sub(1))
}

/// Whether a value exceeds its limit; -1 means no limit.
pub(crate) fn exceeds(value: u64, limit: i64) -> bool {
    u64::try_from(limit).is_ok_and(|limit| value > limit)
}
