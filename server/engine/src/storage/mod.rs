//! Every call to the file system, behind two traits.
//!
//! Nothing else in the engine touches a file: a simulated storage can stand in
//! for [`real::RealStorage`] and lose, tear or refuse whatever it likes. Calls
//! do what their names say and no more; in particular nothing is synced but by
//! [`File::sync`] and [`Storage::sync_dir`].

pub mod probe;

mod disk;
mod real;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub(crate) use disk::Disk;
pub use real::RealStorage;

/// What [`File::write_direct_at`] takes: multiples of this. The largest block of
/// the devices and filesystems in use; see `open(2)`, `O_DIRECT`.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads alone.
    Read,
    /// Reads and writes.
    Write,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, lossy where it is not UTF-8 (such a name is never ours).
    pub name: String,
    /// Whether it is a directory (links are not followed).
    pub is_dir: bool,
    /// Bytes, for a file.
    pub len: u64,
}

/// Holds a lock until it is dropped.
pub trait Lock: Debug + Send + Sync {}

/// Directories and names.
pub trait Storage: Debug + Send + Sync {
    /// Creates a directory; its parent must be there.
    ///
    /// # Errors
    /// As the call.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its parents where they are missing.
    ///
    /// # Errors
    /// As the call.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// As the call.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a file for reading and writing; it must not exist.
    ///
    /// # Errors
    /// As the call.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// As the call.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames; replaces an existing file.
    ///
    /// # Errors
    /// As the call.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the call.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it.
    ///
    /// # Errors
    /// As the call.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the call.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Locks a file, created if missing and holding `content` afterwards, for
    /// this process; `Err` in the result is what the holder wrote there.
    ///
    /// # Errors
    /// As the calls.
    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>>;
}

/// One open file. Offsets are bytes from its start.
pub trait File: Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// As the call.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`File::read_at`], but only what is in the page cache: `None` when
    /// the disk would have to be waited for.
    ///
    /// # Errors
    /// As the call.
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes up to `bytes.len()` bytes and says how many.
    ///
    /// # Errors
    /// As the call.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// As [`File::write_at`], past the page cache where that can be done: neither
    /// the bytes nor their way there pass through it, and reading them asks the
    /// device. The bytes' address, their number and `offset` are multiples of
    /// [`DIRECT_ALIGNMENT`]. Durable after [`File::sync`], as any other.
    ///
    /// # Errors
    /// As the call.
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }

    /// Makes sure that writes up to byte `end` find space. The file's length
    /// stays. A storage that cannot promise this does nothing.
    ///
    /// # Errors
    /// No space.
    fn reserve(&self, offset: u64, end: u64) -> io::Result<()>;

    /// Makes data and length durable (fdatasync). A failed sync may have lost
    /// what it was to sync: it is never tried again.
    ///
    /// # Errors
    /// As the call.
    fn sync(&self) -> io::Result<()>;

    /// The file's length.
    ///
    /// # Errors
    /// As the call.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As the call.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As the call.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Forgets what the page cache holds of the file, so that the next read
    /// asks the device.
    ///
    /// # Errors
    /// As the call.
    fn drop_cache(&self) -> io::Result<()>;

    /// The kernel's handle on the file, for calls that move bytes from it to a
    /// socket; `None` where there is no kernel.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Reads exactly `buf.len()` bytes, or fails with `UnexpectedEof`.
///
/// # Errors
/// As the reads.
pub(crate) fn read_exact_at(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    Disk::May.read_exact_at(file, buf, offset)
}

/// Where the zeros begin with which the first `len` bytes of a file end; `len` if
/// there are none.
///
/// # Errors
/// As the reads.
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

/// Writes all bytes. On an error the second value says how many went out.
///
/// # Errors
/// As the writes.
pub(crate) fn write_all_at(
    file: &dyn File,
    bytes: &[u8],
    offset: u64,
) -> Result<(), (io::Error, usize)> {
    write_all(bytes, |done| file.write_at(&bytes[done..], offset + done as u64))
}

/// As [`write_all_at`], past the page cache; what was written in part need not be
/// aligned any more and is finished through it.
///
/// # Errors
/// As the writes.
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

/// A whole file of at most `max` bytes.
///
/// # Errors
/// As the calls; `FileTooLarge` beyond `max`.
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

/// Replaces a file whole: temporary file, sync, rename, sync the directory.
///
/// # Errors
/// As the calls; the old file is then still there.
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

/// Where a file is made before it gets its name; removed at open.
pub(crate) fn temporary_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY_SUFFIX);
    path.with_file_name(name)
}

/// How names of unfinished files end.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
