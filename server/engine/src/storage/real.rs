//! [`RealStorage`]: the file system of the operating system, through std and rustix.
//!
//! Invariant: [`File::sync`] reports every error of a delayed write.
#![allow(clippy::disallowed_methods, reason = "all file calls are in this module")]

use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, Statx, StatxFlags,
};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Access, DirectoryEntry, File, Identity, Lock, Storage};

/// The files and directories of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

/// An open file. The first direct write opens a second descriptor of the file, with `O_DIRECT`. A
/// direct write reports its own errors. [`File::sync`] always uses the first descriptor, because
/// that one reports every error of a delayed write.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    direct: OnceLock<Option<fs::File>>,
    /// Whether direct writes are disabled, because the file system requires another alignment.
    is_buffered: AtomicBool,
}

impl RealFile {
    fn new(file: fs::File) -> RealFile {
        RealFile { file, direct: OnceLock::new(), is_buffered: AtomicBool::new(false) }
    }

    /// Returns the descriptor for direct writes, or `None` if the file system does not support
    /// them. It is opened through `/proc/self/fd`, so it is the same file even after a rename.
    fn direct(&self) -> Option<&fs::File> {
        let open = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).ok().map(fs::File::from)
        };
        let direct = self.direct.get_or_init(open).as_ref();
        direct.filter(|_| !self.is_buffered.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "dropping it releases the lock")] fs::File);

impl Lock for RealLock {}

impl Storage for RealStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (is_dir, len) = match entry.metadata() {
                Ok(metadata) => (metadata.is_dir(), metadata.len()),
                // The entry was removed during the listing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                // One entry that cannot be examined does not hide the others. Opening it fails.
                Err(_) => (entry.file_type()?.is_dir(), 0),
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirectoryEntry { name, is_dir, len });
        }
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn link_target(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        match fs::symlink_metadata(path)?.is_symlink() {
            true => fs::canonicalize(path).map(Some),
            false => Ok(None),
        }
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        match rustix::fs::statx(CWD, path, AtFlags::empty(), IDENTITY_FIELDS) {
            Ok(found) => Ok(Some(identity(&found))),
            Err(error) if lacks_statx(error) => Ok(Some(identity_of(&fs::metadata(path)?))),
            Err(error) => Err(error.into()),
        }
    }

    fn modified_us(&self, path: &Path) -> io::Result<Option<u64>> {
        let since = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH);
        Ok(since.ok().and_then(|since| u64::try_from(since.as_micros()).ok()))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(access == Access::Write).open(path)?;
        Ok(Arc::new(RealFile::new(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system has this call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_new_directory(from, to),
            renamed => Ok(renamed?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(content.as_bytes())?;
                Ok(Ok(Box::new(RealLock(file))))
            }
            Err(fs::TryLockError::WouldBlock) => match file.try_lock_shared() {
                // The holders share the lock. The content is from an earlier process.
                Ok(()) => Ok(Err(String::new())),
                Err(_) => Ok(Err(lock_content(file))),
            },
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<Option<u64>> {
        let found = rustix::fs::statvfs(directory)?;
        // Blocks that only root may use do not count.
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        let file = fs::File::open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Ok(Box::new(RealLock(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(Err(lock_content(file))),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }
}

/// The size of a file system, and its free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All bytes, without those that only root may use.
    pub size_bytes: u64,
    /// The bytes that can still be used.
    pub free_bytes: u64,
}

/// Asks the file system of a directory for its size. Waits for the disk if that hangs.
///
/// # Errors
/// The error of the system call.
pub fn disk_space(directory: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(directory)?;
    let only_root = found.f_bfree.saturating_sub(found.f_bavail);
    let usable = found.f_blocks.saturating_sub(only_root);
    Ok(DiskSpace {
        size_bytes: usable.saturating_mul(found.f_frsize),
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

/// Returns what the holder of a lock wrote to its file; empty if the file cannot be read.
fn lock_content(file: fs::File) -> String {
    let mut content = String::new();
    let _ = file.take(1024).read_to_string(&mut content);
    content.trim().to_owned()
}

/// Renames a directory. A new, empty directory reserves the name, and the rename replaces it only
/// while it is empty.
fn rename_new_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::rename(from, to).inspect_err(|_| {
        let _ = fs::remove_dir(to);
    })
}

/// The fields of an identity, and no other. The identity of a segment is asked for after each
/// commit. If the time of the last change were among the fields, the kernel would give the next
/// write a new one, and the next sync might have to write the inode too (docs/decisions/0027).
const IDENTITY_FIELDS: StatxFlags = StatxFlags::INO.union(StatxFlags::BTIME);

fn identity(found: &Statx) -> Identity {
    let has_created = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    let created = || {
        let (seconds, nanos) = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second = match seconds {
            0.. => UNIX_EPOCH.checked_add(whole),
            _ => UNIX_EPOCH.checked_sub(whole),
        };
        second?.checked_add(Duration::from_nanos(nanos.into()))
    };
    Identity {
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        created: if has_created { created() } else { None },
    }
}

/// Whether the kernel has no statx, or a sandbox forbids it.
fn lacks_statx(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::PERM)
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    let (device, inode) = (metadata.dev(), metadata.ino());
    Identity { device, inode, created: metadata.created().ok() }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let mut slices = [IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let Some(direct) = self.direct() else { return self.write_at(bytes, offset) };
        match direct.write_at(bytes, offset) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::INVAL) => {
                self.is_buffered.store(true, Ordering::Relaxed);
                self.write_at(bytes, offset)
            }
            written => written,
        }
    }

    fn to_direct(&self) -> Option<Arc<dyn File>> {
        // Through the open file, so it is the same file even after a rename.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).ok().map(fs::File::from)?;
        Some(Arc::new(RealFile::new(file)))
    }

    fn reserve(&self, offset: u64, end: u64) -> io::Result<()> {
        let len = end.saturating_sub(offset);
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn drop_cache(&self) -> io::Result<()> {
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed).map_err(io::Error::from)
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        match rustix::fs::statx(&self.file, "", AtFlags::EMPTY_PATH, IDENTITY_FIELDS) {
            Ok(found) => Ok(Some(identity(&found))),
            Err(error) if lacks_statx(error) => Ok(Some(identity_of(&self.file.metadata()?))),
            Err(error) => Err(error.into()),
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_new_name_replaces_nothing_on_any_file_system() {
        type Rename = fn(&Path, &Path) -> io::Result<()>;
        let with_flag: Rename = |from, to| RealStorage.rename_new(from, to);
        for rename in [with_flag, rename_new_directory] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = |name: &str| directory.path().join(name);
            fs::create_dir_all(path("from/inner")).expect("created");
            fs::create_dir(path("empty")).expect("created");
            fs::write(path("file"), "x").expect("written");
            symlink(path("empty"), path("link")).expect("linked");
            symlink(path("nothing"), path("dangling")).expect("linked");
            for taken in ["empty", "file", "link", "dangling"] {
                let refused = rename(&path("from"), &path(taken)).expect_err(taken);
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{taken}");
                assert!(path("from/inner").is_dir(), "{taken}");
            }
            rename(&path("from"), &path("to")).expect("renamed");
            assert!(path("to/inner").is_dir() && !path("from").exists());
        }
    }

    /// The identity of a segment was asked for with its times after each commit. From Linux 6.13
    /// on, the next write then got a precise time of its own, so that the next sync wrote the
    /// inode too.
    #[test]
    fn asking_for_an_identity_gives_the_next_write_no_precise_time() {
        let coarse = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
            let nanos = u32::try_from(now.tv_nsec).expect("less than a second");
            UNIX_EPOCH + Duration::new(now.tv_sec.unsigned_abs(), nanos)
        };
        let directory = tempfile::tempdir().expect("a directory");
        // Without a precise time, all of this happens in one tick of the clock. It may move on
        // meanwhile, or be behind a precise time that another program got.
        let has_coarse_time = |attempt: u32| {
            let path = directory.path().join(attempt.to_string());
            let before = coarse();
            let file = RealStorage.create(&path).expect("created");
            file.write_at(b"1", 0).expect("written");
            file.identity().expect("an identity");
            RealStorage.identity(&path).expect("an identity");
            file.write_at(b"2", 0).expect("written");
            let modified = fs::metadata(&path).and_then(|found| found.modified());
            before == coarse() && modified.expect("a time") == before
        };
        assert!((0..10_000).any(has_coarse_time));
    }

    #[test]
    fn the_identity_without_statx_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let found = fs::metadata(directory.path()).expect("it exists");
        let identity = RealStorage.identity(directory.path()).expect("an identity");
        assert_eq!(identity, Some(identity_of(&found)));
    }

    #[test]
    fn a_replaced_file_has_another_identity_and_a_renamed_one_has_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let file = RealStorage.create(&path).expect("created");
        let identity = file.identity().expect("an identity");
        assert!(identity.is_some());
        assert_eq!(RealStorage.identity(&path).expect("an identity"), identity);
        let renamed = directory.path().join("renamed");
        fs::rename(&path, &renamed).expect("renamed");
        assert_eq!(RealStorage.identity(&renamed).expect("an identity"), identity);
        fs::remove_file(&renamed).expect("removed");
        let gone = RealStorage.identity(&renamed).expect_err("nothing has the name");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        drop(RealStorage.create(&renamed).expect("created"));
        assert_ne!(RealStorage.identity(&renamed).expect("an identity"), identity);
    }
}
