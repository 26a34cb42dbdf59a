//! The storage probe: checks whether a directory is on storage that can keep acknowledged records.
//!
//! ```text
//! statfs ─▶ in memory?      mountinfo ─▶ options that disable syncs?
//! write and sync 4 KiB, repeatedly ─▶ faster than any medium?
//! ```
//!
//! The server runs it at start and for `--check-storage`. The probe only warns; the engine behaves
//! the same on weak storage. Invariant: it leaves no files behind. The names of its files begin
//! with `.probe-`, and the next open removes those that remain after a kill.

mod mount;
mod timing;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use mount::Mount;
pub use timing::{Syncs, bandwidth};

/// The prefix of the probe's file names.
pub(crate) const PREFIX: &str = ".probe-";

/// Storage with a faster median sync does not write to a medium.
const SYNC_TIME_MIN: Duration = Duration::from_micros(10);

/// How thorough an inspection is, and so how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For every start of a server. Takes well under 50 ms unless a single sync is slow.
    Quick,
    /// For a person who waits for the result. Takes about 2 s at most.
    Thorough,
}

/// The result of an inspection of a directory's storage.
#[derive(Debug)]
pub struct StorageReport {
    /// The type of the file system, such as `ext4`; `unknown` if it cannot be determined.
    pub filesystem: String,
    /// How the file system is mounted; `None` if this cannot be determined.
    pub mount: Option<Mount>,
    /// How long it takes to write and sync 4 KiB, or why this could not be measured.
    pub syncs: io::Result<Syncs>,
    /// Why this storage may lose acknowledged records; empty if no reason was found.
    pub weaknesses: Vec<Weakness>,
}

/// Why a storage may lose acknowledged records. Displayed, it says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weakness {
    /// The storage is in memory.
    Memory {
        /// The type of the file system, such as `tmpfs`.
        filesystem: String,
    },
    /// The file system is mounted with an option that disables syncs.
    MountOption {
        /// The option, such as `nobarrier`.
        option: String,
    },
    /// Syncs return faster than any medium can complete them.
    FastSync {
        /// The median time of a write and its sync.
        median: Duration,
    },
}

impl Weakness {
    /// Every value of [`reason`](Self::reason).
    pub const REASONS: [&'static str; 3] = ["memory", "mount_option", "fast_sync"];

    /// A short, stable name of the weakness, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        let [memory, mount_option, fast_sync] = Weakness::REASONS;
        match self {
            Weakness::Memory { .. } => memory,
            Weakness::MountOption { .. } => mount_option,
            Weakness::FastSync { .. } => fast_sync,
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weakness::Memory { filesystem } => write!(
                f,
                "the data directory is in memory ({filesystem}): every acknowledged record is lost \
                 when the machine or the container stops; use a directory on a disk with ext4 or XFS"
            ),
            Weakness::MountOption { option } => write!(
                f,
                "the file system is mounted with `{option}`: a sync does not wait for the disk, and \
                 a power failure can lose acknowledged records; mount it without this option"
            ),
            Weakness::FastSync { median } => write!(
                f,
                "a sync takes {median:?}, which is faster than any storage medium: a power failure \
                 can lose acknowledged records, because a volatile cache, a virtual disk or \
                 eatmydata ignores the sync; configure it to pass flushes to the medium"
            ),
        }
    }
}

/// Inspects the storage of an existing directory. Blocks the calling thread.
///
/// # Errors
/// The directory cannot be inspected. A failed measurement is not an error; the report contains it.
pub fn inspect(directory: &Path, effort: Effort) -> io::Result<StorageReport> {
    let memory = memory_filesystem(directory)?;
    let mount = mount::of(directory);
    let syncs = timing::syncs(directory, effort);
    let weaknesses = weaknesses(memory, mount.as_ref(), syncs.as_ref().ok());
    let filesystem = mount.as_ref().map_or("unknown", |mount| &mount.filesystem).to_owned();
    Ok(StorageReport { filesystem, mount, syncs, weaknesses })
}

fn weaknesses(
    memory: Option<&'static str>,
    mount: Option<&Mount>,
    syncs: Option<&Syncs>,
) -> Vec<Weakness> {
    let overlay_memory = || {
        // The overlay's upper directory, if this process can see its path.
        let upper = PathBuf::from(mount?.overlay_upper()?);
        Some(format!("overlay on {}", memory_filesystem(&upper).ok()??))
    };
    let filesystem = memory.map(str::to_owned).or_else(overlay_memory);
    let option = mount.and_then(Mount::option_without_syncs);
    let median = syncs.map(Syncs::median).filter(|median| *median < SYNC_TIME_MIN);
    // Syncs in memory are always fast, so they are not reported as a second weakness.
    let median = if filesystem.is_some() { None } else { median };
    let memory = filesystem.map(|filesystem| Weakness::Memory { filesystem });
    let option = option.map(|option| Weakness::MountOption { option: option.to_owned() });
    let fast = median.map(|median| Weakness::FastSync { median });
    memory.into_iter().chain(option).chain(fast).collect()
}

/// Returns the type of the file system if it is in memory. The numbers are those of `statfs(2)`.
fn memory_filesystem(path: &Path) -> io::Result<Option<&'static str>> {
    let number = rustix::fs::statfs(path)?.f_type;
    // The field's width and sign depend on the architecture, but the numbers have 32 bits.
    Ok(match number as u32 {
        0x0102_1994 => Some("tmpfs"),
        0x8584_58f6 => Some("ramfs"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{RealStorage, Storage};

    fn check(memory: Option<&'static str>, mount: &str, sync_us: u64, expected: &[&str]) {
        let mount = Mount::parse(mount).expect("a line of mountinfo");
        let syncs = Syncs::of(vec![Duration::from_micros(sync_us)]).expect("one measurement");
        let found = weaknesses(memory, Some(&mount), Some(&syncs));
        let reasons: Vec<_> = found.iter().map(Weakness::reason).collect();
        assert_eq!(reasons, expected, "{mount:?}");
    }

    #[test]
    fn each_weakness_is_found_and_sound_storage_has_none() {
        let ext4 = "22 1 8:1 / /data rw - ext4 /dev/sda1 rw,errors=remount-ro";
        let without_barriers = "22 1 8:1 / /data rw - ext4 /dev/sda1 rw,nobarrier";
        check(None, ext4, 200, &[]);
        check(None, ext4, 10, &[]);
        check(None, ext4, 9, &["fast_sync"]);
        check(None, without_barriers, 200, &["mount_option"]);
        check(None, without_barriers, 3, &["mount_option", "fast_sync"]);
        check(Some("tmpfs"), "22 1 0:5 / /data rw - tmpfs none rw", 1, &["memory"]);
    }

    #[test]
    fn an_overlay_is_as_weak_as_its_upper_directory() {
        let shm = Path::new("/dev/shm");
        if !matches!(memory_filesystem(shm), Ok(Some("tmpfs"))) {
            eprintln!("skipped: /dev/shm is not a tmpfs");
            return;
        }
        let on_tmpfs =
            "22 1 0:5 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/dev/shm,workdir=/w";
        check(None, on_tmpfs, 1, &["memory"]);
        let on_unknown_path = "22 1 0:5 / / rw - overlay overlay rw,upperdir=/no/such/path";
        check(None, on_unknown_path, 100, &[]);
    }

    #[test]
    fn inspection_leaves_no_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let report = inspect(directory.path(), Effort::Quick).expect("a report");
        let syncs = report.syncs.expect("a writable directory");
        assert!(syncs.count() >= 1 && syncs.median() <= syncs.p99());
        assert_eq!(RealStorage.list(directory.path()).expect("a list"), []);
        assert!(inspect(&directory.path().join("no"), Effort::Quick).is_err());
    }

    #[test]
    fn tmpfs_is_reported_as_memory() {
        let report = inspect(Path::new("/dev/shm"), Effort::Quick);
        match report {
            Ok(report) if report.filesystem == "tmpfs" => {
                let memory = Weakness::Memory { filesystem: "tmpfs".into() };
                assert_eq!(report.weaknesses, [memory]);
            }
            other => eprintln!("skipped: /dev/shm is not a tmpfs: {other:?}"),
        }
    }
}
