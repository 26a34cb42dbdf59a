//! The limits of the disk under the data directory: sequential write rate and the time
//! of a small sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rustix::fs::{Mode as Permissions, OFlags};

/// The largest group that the engine writes at once.
pub(super) const GROUP_BYTES: usize = 4 << 20;
const BANDWIDTH_BYTES_MAX: u64 = 1 << 30;
/// Groups that are written before the measurement starts.
const WARM_UP_GROUPS: u64 = 2;
const SYNC_BYTES: usize = 4096;
const SYNC_SPACE: usize = 1 << 20;
/// The alignment of a huge page, which satisfies all smaller ones.
const ALIGNMENT: usize = 2 << 20;

/// Whether writes go through the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    Buffered,
    Direct,
}

/// Makes file names unique.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct ProbeFile {
    path: PathBuf,
    pub(super) file: File,
}

impl ProbeFile {
    /// A new file of `bytes` bytes that are written and synced.
    pub(super) fn written(directory: &Path, bytes: usize) -> io::Result<ProbeFile> {
        let probe = ProbeFile::create(directory, WriteMode::Buffered)?;
        probe.file.write_all_at(&vec![1; bytes], 0)?;
        probe.file.sync_all()?;
        Ok(probe)
    }

    /// A new, empty file.
    pub(super) fn create(directory: &Path, mode: WriteMode) -> io::Result<ProbeFile> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".styx-benchmark-{}-{number}", std::process::id()));
        let mut flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::CLOEXEC;
        if mode == WriteMode::Direct {
            flags |= OFlags::DIRECT;
        }
        let file = File::from(rustix::fs::open(&path, flags, Permissions::from(0o600))?);
        Ok(ProbeFile { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ProbeFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The sequential write rate in bytes per second: groups are written one after the other
/// for `time`, each synced.
pub(super) fn sequential(directory: &Path, mode: WriteMode, time: Duration) -> io::Result<f64> {
    let probe = ProbeFile::create(directory, mode)?;
    let buffer = AlignedBuffer::new(GROUP_BYTES)?;
    let (mut at, mut begun_at, mut begun) = (0, 0, None::<Instant>);
    while at < BANDWIDTH_BYTES_MAX && begun.is_none_or(|begun| begun.elapsed() < time) {
        probe.file.write_all_at(buffer.bytes(), at)?;
        probe.file.sync_data()?;
        at += GROUP_BYTES as u64;
        if begun.is_none() && at >= WARM_UP_GROUPS * GROUP_BYTES as u64 {
            (begun, begun_at) = (Some(Instant::now()), at);
        }
    }
    let seconds = begun.map_or(f64::INFINITY, |begun| begun.elapsed().as_secs_f64());
    Ok((at - begun_at) as f64 / seconds)
}

/// The median time of a small write to space that was written before, and its sync.
pub(super) fn sync(directory: &Path, time: Duration) -> io::Result<Duration> {
    let probe = ProbeFile::written(directory, SYNC_SPACE)?;
    let small = vec![2; SYNC_BYTES];
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < time {
        let at = (times.len() * SYNC_BYTES % SYNC_SPACE) as u64;
        let started = Instant::now();
        probe.file.write_all_at(&small, at)?;
        probe.file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Aligned memory for direct reads and writes. It is touched already, and in huge pages if
/// transparent huge pages are enabled: a disk takes those in fewer pieces.
pub(super) struct AlignedBuffer {
    memory: MmapMut,
    from: usize,
    len: usize,
}

impl AlignedBuffer {
    pub(super) fn new(len: usize) -> io::Result<AlignedBuffer> {
        let mut memory = MmapMut::map_anon(len + ALIGNMENT)?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let from = memory.as_ptr().align_offset(ALIGNMENT);
        // Not zeros: some disks do not store them.
        let used = memory.iter_mut().skip(from).take(len);
        used.enumerate().for_each(|(i, byte)| *byte = (i * 31 % 251) as u8);
        Ok(AlignedBuffer { memory, from, len })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.from..self.from + self.len).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.from..self.from + self.len).unwrap_or_default()
    }
}
