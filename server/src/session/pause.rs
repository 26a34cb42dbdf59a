//! [`Pause`]: a consumer that reads from the disk gives way to commits.
//!
//! ```text
//! 16 MiB read from the disk ─▶ 1 MiB or more committed meanwhile? ─ yes ▶ wait for 1 ms
//!                                                                 └ no ─▶ go on
//! ```
//! A consumer far behind needs the same cores as the producers, and its reads never end by
//! themselves. Without a pause, a producer at half its full rate fell to 0.45 to 0.74 of that
//! ([decision 24](../../../docs/decisions/0024-cold-files-are-read-past-the-page-cache.md)).

use std::time::Duration;

use styx_engine::Reader;

/// Bytes that are read between two pauses.
const TURN_BYTES: u64 = 16 << 20;
/// Bytes of commits, of all logs, from which on a consumer pauses.
const COMMITTED_BYTES_MIN: u64 = 1 << 20;
/// The runtime's timer cannot wait for less.
const TIME: Duration = Duration::from_millis(1);

/// Counts what one reader has read since its last pause.
#[derive(Debug, Default)]
pub(super) struct Pause {
    read: u64,
    /// The engine's count of committed bytes at the last pause.
    committed: u64,
}

impl Pause {
    /// Notes bytes that were read.
    pub(super) fn took(&mut self, bytes: u64) {
        self.read += bytes;
    }

    /// How long to wait before the next read.
    pub(super) fn due(&mut self, reader: &Reader) -> Option<Duration> {
        if self.read < TURN_BYTES {
            return None;
        }
        self.after_turn(reader.reads_ahead(), reader.committed_bytes())
    }

    fn after_turn(&mut self, is_cold: bool, committed: u64) -> Option<Duration> {
        self.read = 0;
        let before = std::mem::replace(&mut self.committed, committed);
        (is_cold && committed - before >= COMMITTED_BYTES_MIN).then_some(TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cold_read_beside_large_commits_pauses() {
        let mut pause = Pause::default();
        assert_eq!(pause.after_turn(true, 5 << 20), Some(TIME));
        assert_eq!(pause.after_turn(true, (6 << 20) - 1), None, "a little was committed");
        assert_eq!(pause.after_turn(true, (7 << 20) - 1), Some(TIME));
        assert_eq!(pause.after_turn(false, 9 << 20), None, "the file is in the page cache");
    }
}
