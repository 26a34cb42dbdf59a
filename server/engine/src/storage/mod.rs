//! Every call to the file system, behind two traits.
//!
//! Nothing else in the engine touches a file, so tests can replace [`real::RealStorage`] by a
//! simulated storage that loses, tears or refuses whatever it likes. Each call does only what
//! its name says. In particular, only [`File::sync`] and [`Storage::sync_dir`] sync.

pub mod probe;

mod disk;
mod real;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use disk::DiskWait;
pub use real::RealStorage;

/// The alignment that [`File::write_direct_at`] requires: the largest block size of the devices
/// and filesystems in use. See `open(2)`, `O_DIRECT`.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reads only.
    Read,
    /// For reads and writes.
    Write,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name. It is lossy if it is not UTF-8; the engine creates no such name.
    pub name: String,
    /// Whether it is a directory. Links are not followed.
    pub is_dir: bool,
    /// The size in bytes, for a file.
    pub len: u64,
}

/// Holds a lock until it is dropped.
pub trait Lock: Debug + Send + Sync {}

/// Directories and names.
pub trait Storage: Debug + Send + Sync {
    /// Creates a directory; its parent must exist.
    ///
    /// # Errors
    /// Those of the system call.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// Those of the system call.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, in no particular order.
    ///
    /// # Errors
    /// Those of the system call.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Creates a file for reading and writing; it must not exist.
    ///
    /// # Errors
    /// Those of the system call.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// Those of the system call.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames; replaces an existing file.
    ///
    /// # Errors
    /// Those of the system call.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the system call.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// Those of the system call.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of the system call.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Locks a file for this process. The file is created if it is missing, and contains `content`
    /// afterwards. If another process holds the lock, the inner `Err` is the content that it wrote.
    ///
    /// # Errors
    /// Those of the system calls.
    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>>;
}

/// One open file. Offsets are bytes from its start.
pub trait File: Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the system call.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`File::read_at`], but only from the page cache: `None` if the read would have to wait
    /// for the disk.
    ///
    /// # Errors
    /// Those of the system call.
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes up to `bytes.len()` bytes; returns how many.
    ///
    /// # Errors
    /// Those of the system call.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// As [`File::write_at`], but past the page cache if that is possible: the bytes do not enter
    /// the page cache, and reading them reads the device. The address of `bytes`, its length and
    /// `offset` are multiples of [`DIRECT_ALIGNMENT`]. Durable after [`File::sync`], like any other
    /// write.
    ///
    /// # Errors
    /// Those of the system call.
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }

    /// Makes sure that writes up to byte `end` find space. The file's length does not change. A
    /// storage that cannot guarantee this does nothing.
    ///
    /// # Errors
    /// No space.
    fn reserve(&self, offset: u64, end: u64) -> io::Result<()>;

    /// Makes data and length durable (fdatasync). A failed sync may have lost what it was to sync,
    /// so it is never retried.
    ///
    /// # Errors
    /// Those of the system call.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    ///
    /// # Errors
    /// Those of the system call.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Those of the system call.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Truncates or extends the file.
    ///
    /// # Errors
    /// Those of the system call.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Drops the file from the page cache, so that the next read reads the device.
    ///
    /// # Errors
    /// Those of the system call.
    fn drop_cache(&self) -> io::Result<()>;

    /// The kernel's descriptor of the file, for calls that move bytes from it to a socket; `None`
    /// for a simulated file.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Reads exactly `buf.len()` bytes, or fails with `UnexpectedEof`.
///
/// # Errors
/// Those of the reads.
pub(crate) fn read_exact_at(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    DiskWait::Allowed.read_exact_at(file, buf, offset)
}

/// The offset at which the trailing zeros of a file's first `len` bytes begin; `len` if there
/// are none.
///
/// # Errors
/// Those of the reads.
pub(crate) fn zeros_from(file: &dyn File, len: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut end = len;
    while end > 0 {
        let count = usize::try_from(end).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..count];
        let start = end - count as u64;
        read_exact_at(file, part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Writes all bytes. On an error, the second value is the number of bytes written.
///
/// # Errors
/// Those of the writes.
pub(crate) fn write_all_at(
    file: &dyn File,
    bytes: &[u8],
    offset: u64,
) -> Result<(), (io::Error, usize)> {
    write_all(bytes, |done| file.write_at(&bytes[done..], offset + done as u64))
}

/// As [`write_all_at`], past the page cache. After a partial write the rest may not be aligned;
/// it is then written through the page cache.
///
/// # Errors
/// Those of the writes.
pub(crate) fn write_all_direct_at(
    file: &dyn File,
    bytes: &[u8],
    offset: u64,
) -> Result<(), (io::Error, usize)> {
    write_all(bytes, |done| match done % DIRECT_ALIGNMENT {
        0 => file.write_direct_at(&bytes[done..], offset + done as u64),
        _ => file.write_at(&bytes[done..], offset + done as u64),
    })
}

fn write_all(
    bytes: &[u8],
    mut write_from: impl FnMut(usize) -> io::Result<usize>,
) -> Result<(), (io::Error, usize)> {
    let mut done = 0;
    while done < bytes.len() {
        match write_from(done) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), done)),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((e, done)),
        }
    }
    Ok(())
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// Those of the calls; `FileTooLarge` beyond `max`.
pub(crate) fn read_file(storage: &dyn Storage, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Access::Read)?;
    let len = file.len()?;
    if len > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces a whole file: writes a temporary file, syncs it, renames it and syncs the
/// directory.
///
/// # Errors
/// Those of the calls; the old file then still exists.
pub(crate) fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path);
    match storage.remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = storage.create(&temporary)?;
    write_all_at(&*file, bytes, 0).map_err(|(e, _)| e)?;
    file.sync()?;
    storage.rename(&temporary, path)?;
    storage.sync_dir(path.parent().ok_or(io::ErrorKind::InvalidInput)?)
}

/// The path under which a file is written before it gets its name. Files with such names are
/// removed at open.
pub(crate) fn temporary_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY_SUFFIX);
    path.with_file_name(name)
}

/// The suffix of unfinished files.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
