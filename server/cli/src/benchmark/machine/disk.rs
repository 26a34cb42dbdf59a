//! The disk under the data directory: sequential bandwidth and one small sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rustix::fs::{Mode as Permissions, OFlags};

/// What the engine writes as one group at most.
const GROUP_BYTES: usize = 4 << 20;
const BANDWIDTH_BYTES_MAX: u64 = 1 << 30;
/// Groups that are for the filesystem to find its pace.
const WARM_UP_GROUPS: u64 = 2;
const SYNC_BYTES: usize = 4096;
const SYNC_SPACE: usize = 1 << 20;
/// Of a huge page, and with it of every smaller one.
const ALIGNMENT: usize = 2 << 20;

/// How the page cache takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Buffered,
    Direct,
}

/// Numbers of probes: no two are one file.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file that goes when it is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    path: PathBuf,
    pub(super) file: File,
}

impl Probe {
    /// One of so many bytes, which are written and synced.
    pub(super) fn written(directory: &Path, bytes: usize) -> io::Result<Probe> {
        let probe = Probe::create(directory, Mode::Buffered)?;
        probe.file.write_all_at(&vec![1; bytes], 0)?;
        probe.file.sync_all()?;
        Ok(probe)
    }

    fn create(directory: &Path, mode: Mode) -> io::Result<Probe> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".styx-benchmark-{}-{number}", std::process::id()));
        let mut flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::CLOEXEC;
        if mode == Mode::Direct {
            flags |= OFlags::DIRECT;
        }
        let file = File::from(rustix::fs::open(&path, flags, Permissions::from(0o600))?);
        Ok(Probe { path, file })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Bytes a second of groups written one behind the other for some time, each
/// synced.
pub(super) fn sequential(directory: &Path, mode: Mode, time: Duration) -> io::Result<f64> {
    let probe = Probe::create(directory, mode)?;
    let buffer = Aligned::new(GROUP_BYTES)?;
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

/// The median time of a small write onto space that was written before, and its
/// sync.
pub(super) fn sync(directory: &Path, time: Duration) -> io::Result<Duration> {
    let probe = Probe::written(directory, SYNC_SPACE)?;
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

/// Memory that direct writes take, touched already: in huge pages where there are such,
/// which a disk takes in fewer pieces than ordinary ones.
struct Aligned {
    memory: MmapMut,
    from: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> io::Result<Aligned> {
        let mut memory = MmapMut::map_anon(len + ALIGNMENT)?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let from = memory.as_ptr().align_offset(ALIGNMENT);
        // Not zeros, which some disks store as nothing.
        let used = memory.iter_mut().skip(from).take(len);
        used.enumerate().for_each(|(i, byte)| *byte = (i * 31 % 251) as u8);
        Ok(Aligned { memory, from, len })
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.from..self.from + self.len).unwrap_or_default()
    }
}
