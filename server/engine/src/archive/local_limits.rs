//! [`LocalLimits`]: how much of an archived log stays on the disk.

use std::time::Duration;

/// How much of a log stays on the disk, if the rest is archived. A segment that is not archived, and
/// the newest two, stay in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalLimits {
    /// The bytes of segment files of the log; `None` for no limit. With 0, everything that can be
    /// evicted is evicted.
    pub bytes_max: Option<u64>,
    /// The age of the newest record of a segment, measured in whole seconds; `None` for no limit.
    pub age_max: Option<Duration>,
}

/// What an eviction removed from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// The number of segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}
