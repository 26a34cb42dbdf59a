//! The limit READ: sequential reads of a file that was just written and is not in the
//! page cache.
//!
//! ```text
//! ReadProbe::new ─▶ a file, written with O_DIRECT, synced
//!     page cache  drop the file's pages, read with read-ahead
//!     depth 1     one O_DIRECT read in flight
//!     depth 2, 4  as many threads, each with one O_DIRECT read in flight
//! ```
//! The limit is the fastest of these ways.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, Mode as Permissions, OFlags, fadvise};

use super::disk::{AlignedBuffer, GROUP_BYTES, ProbeFile, WriteMode};

/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;
/// The file is long enough for this rate, in bytes per second, so that no measurement
/// reads a part of it twice.
const RATE_MAX: f64 = 4e9;
const FILE_BYTES_MAX: u64 = 512 << 20;

/// The ways to read, and their names in reports.
pub(super) const WAYS: [&str; 4] = [
    "page cache with read-ahead",
    "O_DIRECT at queue depth 1",
    "O_DIRECT at queue depth 2",
    "O_DIRECT at queue depth 4",
];
/// The queue depths of the ways with O_DIRECT.
const DEPTHS: [usize; 3] = [1, 2, 4];

/// A file to read.
#[derive(Debug)]
pub(super) struct ReadProbe {
    file: ProbeFile,
    bytes: u64,
    time: Duration,
}

impl ReadProbe {
    /// Writes a file for measurements of at most `time` each.
    pub(super) fn new(directory: &Path, time: Duration) -> io::Result<ReadProbe> {
        let wanted = ((time.as_secs_f64() * RATE_MAX) as u64).min(FILE_BYTES_MAX);
        let groups = wanted.div_ceil(GROUP_BYTES as u64).max(1);
        // Not every file system supports direct writes.
        let file = ProbeFile::create(directory, WriteMode::Direct)
            .or_else(|_| ProbeFile::create(directory, WriteMode::Buffered))?;
        let group = AlignedBuffer::new(GROUP_BYTES)?;
        for number in 0..groups {
            file.file.write_all_at(group.bytes(), number * GROUP_BYTES as u64)?;
        }
        file.file.sync_all()?;
        Ok(ReadProbe { file, bytes: groups * GROUP_BYTES as u64, time })
    }

    /// Bytes per second of each of the [`WAYS`]. A way that the file system does not
    /// support has 0.
    pub(super) fn sample(&self) -> io::Result<[f64; WAYS.len()]> {
        let [one, two, four] = DEPTHS.map(|depth| self.direct(depth).unwrap_or(0.0));
        Ok([self.buffered()?, one, two, four])
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | flags;
        Ok(File::from(rustix::fs::open(self.file.path(), flags, Permissions::empty())?))
    }

    fn buffered(&self) -> io::Result<f64> {
        let mut file = self.open(OFlags::empty())?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        fadvise(&file, 0, None, Advice::Sequential)?;
        let mut buffer = vec![1; READ_BYTES];
        let (begun, mut read) = (Instant::now(), 0);
        while begun.elapsed() < self.time {
            match file.read(&mut buffer)? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok(read as f64 / begun.elapsed().as_secs_f64())
    }

    fn direct(&self, depth: usize) -> io::Result<f64> {
        let file = self.open(OFlags::DIRECT)?;
        let buffers = (0..depth).map(|_| AlignedBuffer::new(READ_BYTES));
        let buffers = buffers.collect::<io::Result<Vec<_>>>()?;
        let (next, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let begun = Instant::now();
        let read_chunks = |mut buffer: AlignedBuffer| -> io::Result<()> {
            while begun.elapsed() < self.time {
                let at = next.fetch_add(READ_BYTES as u64, Ordering::Relaxed);
                if at >= self.bytes {
                    break;
                }
                file.read_exact_at(buffer.bytes_mut(), at)?;
                read.fetch_add(READ_BYTES as u64, Ordering::Relaxed);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let start = |buffer| scope.spawn(|| read_chunks(buffer));
            let threads: Vec<_> = buffers.into_iter().map(start).collect();
            threads.into_iter().try_for_each(|thread| {
                let panicked = |_| Err(io::Error::other("a reading thread panicked"));
                thread.join().unwrap_or_else(panicked)
            })
        })?;
        Ok(read.into_inner() as f64 / begun.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffered_reads_and_at_least_the_page_cache_have_a_rate() {
        let directory = std::env::temp_dir();
        let probe = ReadProbe::new(&directory, Duration::from_millis(5)).expect("a file");
        assert_eq!(probe.bytes, 20 << 20, "4 GB/s for 5 ms, in whole groups");
        let rates = probe.sample().expect("it can be read");
        assert!(rates[0] > 0.0, "{rates:?}");
        let path = probe.file.path().to_owned();
        drop(probe);
        assert!(!path.exists(), "the file is removed");
    }
}
