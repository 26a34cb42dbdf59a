//! [`Options`]: the settings of a catalog, and their defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::Depot;
use crate::clock::{Clock, RealClock};
use crate::storage::{RealStorage, Storage};

/// How a catalog is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the logs; it is created if it does not exist.
    pub data_directory: PathBuf,
    /// Start every commit on a 4 KiB boundary. For media on which an interrupted sector write may
    /// leave neither the old nor the new bytes.
    pub pad_commits: bool,
    /// Size from which a commit is written past the page cache. For larger commits, copying to the
    /// page cache costs more than it saves later readers of the file.
    pub direct_bytes_min: usize,
    /// Queue size at which the next commit is prepared while the previous one is still being
    /// written. The previous one must be at least as large. A smaller queue waits until the
    /// previous commit is durable, and grows meanwhile.
    pub overlap_bytes_min: usize,
    /// Bytes that may wait in one log's queue.
    pub queue_bytes_max: usize,
    /// Bytes of recent commits that are kept in memory for followers, per log. Commits written past
    /// the page cache do not count.
    pub tail_bytes_max: usize,
    /// The limit of these bytes for all logs together.
    pub tail_bytes_total_max: usize,
    /// Bytes of recent commits written past the page cache that are kept in memory, of all logs
    /// together. The oldest are evicted.
    pub direct_tail_bytes_max: usize,
    /// Bytes that are read in advance for readers of many records that are not in the page cache,
    /// of all readers together; 0 to read through the page cache.
    pub read_ahead_bytes_max: usize,
    /// Bytes of tables with the parts of large blocks, of all logs together. A table is made when
    /// one record of a block is read, and later reads of its records read only a part of the block.
    /// With 0, every read of one record reads its whole block.
    pub block_parts_bytes_max: usize,
    /// The maximum number of committer threads; they are started when needed. With 0 the engine has
    /// no threads at all and [`Catalog::step`](super::Catalog::step) does their work, for deterministic tests.
    pub committers_max: usize,
    /// How fast sealed segments are read again to find damage; 0 switches this off.
    pub scrub_bytes_per_second: u64,
    /// The pause between two passes of the scrub.
    pub scrub_pause: Duration,
    /// How many file descriptors of logs may stay open while nothing uses them. Two thirds are for
    /// the newest segments of the logs that were appended to last, one third is for segments that
    /// were read, with their indexes. Files beyond the limit are closed and opened again when they
    /// are needed. Files that an append, a reader, a backup or the scrub is using are open in
    /// addition.
    pub open_files: usize,
    /// The free bytes that appends leave on the file system of their log; 0 for none. New logs and
    /// restores leave them too.
    pub free_bytes_min: u64,
    /// The object store with the archived segments; `None` without an archive. Archived segments of
    /// the logs are then listed, but evicted ones cannot be read.
    pub depot: Option<Arc<dyn Depot>>,
    /// The logs are those of other servers: only [`Catalog::attach_replica`](super::Catalog),
    /// [`Catalog::detach_replica`](super::Catalog) and [`Log::extend`](crate::Log::extend) change
    /// them, and everything else that would change a log fails with
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). The data directory is only for such logs.
    pub read_only: bool,
    /// How long a blocking call waits for the object store while nothing arrives.
    pub store_wait: Duration,
    /// The file system.
    pub storage: Arc<dyn Storage>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The defaults for this directory.
    #[must_use]
    pub fn new(data_directory: impl Into<PathBuf>) -> Options {
        Options {
            data_directory: data_directory.into(),
            pad_commits: false,
            direct_bytes_min: 512 << 10,
            overlap_bytes_min: 1 << 20,
            queue_bytes_max: 16 << 20,
            tail_bytes_max: 4 << 20,
            tail_bytes_total_max: 32 << 20,
            direct_tail_bytes_max: 32 << 20,
            read_ahead_bytes_max: 64 << 20,
            block_parts_bytes_max: 16 << 20,
            committers_max: 32,
            scrub_bytes_per_second: 16 << 20,
            scrub_pause: Duration::from_secs(24 * 3600),
            open_files: 1536,
            free_bytes_min: 0,
            depot: None,
            read_only: false,
            store_wait: Duration::from_secs(30),
            storage: Arc::new(RealStorage),
            clock: Arc::new(RealClock),
        }
    }
}
