//! [`Storage`] and [`File`]: the two traits through which the engine accesses the file system.
//!
//! No other module of the engine opens a file. So tests can replace [`RealStorage`] by a simulated
//! storage that loses data, tears writes or returns errors. Invariant: only [`File::sync`] and
//! [`Storage::sync_dir`] make anything durable; no other call syncs.

pub mod probe;

mod disk;
mod real;
mod whole_file;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) use disk::DiskWait;
pub use real::{DiskSpace, RealStorage, disk_space};
pub(crate) use whole_file::{
    TEMPORARY_SUFFIX, read_file, rename_durably, replace_file, temporary_path, write_temporary,
};

/// The alignment in bytes that [`File::write_direct_at`] requires. No common device or file system
/// requires a larger one. See `O_DIRECT` in `open(2)`.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only for reading.
    Read,
    /// For reading and writing.
    Write,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name. If it is not UTF-8, invalid bytes are replaced; the engine creates no such name.
    pub name: String,
    /// Whether the entry is a directory. Symbolic links are not followed.
    pub is_dir: bool,
    /// The size of a file in bytes. For a directory it has no meaning.
    pub len: u64,
}

/// Distinguishes a file or directory from every other one, whatever its name is. The number of a
/// removed file can be used again, so the time of creation is a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The number of the file system.
    pub device: u64,
    /// The number of the file in its file system.
    pub inode: u64,
    /// The time at which the file was created, if the file system knows it.
    pub created: Option<SystemTime>,
}

/// A lock on a file. Dropping it releases the lock.
pub trait Lock: Debug + Send + Sync {}

/// A file system: its directories and the names of files.
pub trait Storage: Debug + Send + Sync {
    /// Creates a directory. Its parent must exist.
    ///
    /// # Errors
    /// The error of the system call.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// The error of the system call.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Returns the entries of a directory, in no particular order.
    ///
    /// # Errors
    /// The error of the system call.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Returns whether anything has this name: a file, a directory, or a symbolic link, even one to
    /// nothing.
    ///
    /// # Errors
    /// The error of the system call.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(true);
        };
        Ok(self.list(parent)?.iter().any(|entry| entry.name.as_str() == name))
    }

    /// Returns the path at the end of a symbolic link, without links. Returns `None` if `path` is
    /// not a symbolic link.
    ///
    /// # Errors
    /// The error of the system call; `NotFound` if the link leads to nothing.
    fn link_target(&self, _: &Path) -> io::Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Returns the identity of a file or directory. Follows symbolic links. Returns `None` if the
    /// storage has no identities.
    ///
    /// # Errors
    /// The error of the system call; `NotFound` if nothing has this name.
    fn identity(&self, _: &Path) -> io::Result<Option<Identity>> {
        Ok(None)
    }

    /// Returns the time at which a file was last written, in µs since the Unix epoch. Returns
    /// `None` if the storage does not know it, or if it is before the epoch.
    ///
    /// # Errors
    /// The error of the system call; `NotFound` if nothing has this name.
    fn modified_us(&self, _: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Creates a file for reading and writing. It must not exist.
    ///
    /// # Errors
    /// The error of the system call.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// The error of the system call.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file or directory. An existing file with the new name is replaced.
    ///
    /// # Errors
    /// The error of the system call.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file or directory. Nothing may have the new name.
    ///
    /// # Errors
    /// The error of the system call; `AlreadyExists` if anything has the new name, even a symbolic
    /// link to nothing. It was not changed then.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.exists(to)? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => self.rename(from, to),
        }
    }

    /// Removes a file, or a symbolic link.
    ///
    /// # Errors
    /// The error of the system call.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The error of the system call; `DirectoryNotEmpty` if it is not empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match self.list(path)?.is_empty() {
            true => self.remove_dir_all(path),
            false => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// The error of the system call.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable: created, renamed and removed names.
    ///
    /// # Errors
    /// The error of the system call.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Locks a file for this process and writes `content` to it. Creates the file if it is missing.
    /// If another process holds the lock, the inner `Err` is the content that it wrote. The content
    /// is empty if the holders have the lock of [`Storage::lock_shared`].
    ///
    /// # Errors
    /// The error of a system call.
    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>>;

    /// Returns the bytes that are free for new files on the file system of a directory; `None` if
    /// the storage does not know.
    ///
    /// # Errors
    /// The error of the system call.
    fn free_bytes(&self, _directory: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Locks an existing file without changing it. Any number of processes may hold this lock, but
    /// not while a process holds the lock of [`Storage::lock`]. If a process does, the inner `Err`
    /// is the content that it wrote.
    ///
    /// # Errors
    /// The error of a system call; `Unsupported` if the storage has no such locks.
    fn lock_shared(&self, _: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An open file. Offsets are in bytes from its start.
pub trait File: Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes and returns their number, which is 0 at the end of the file.
    ///
    /// # Errors
    /// The error of the system call.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Like [`File::read_at`], but reads only from the page cache. Returns `None` if the read would
    /// have to wait for the disk.
    ///
    /// # Errors
    /// The error of the system call.
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;

    /// Writes up to `bytes.len()` bytes and returns their number.
    ///
    /// # Errors
    /// The error of the system call.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Like [`File::write_at`], but bypasses the page cache if the file system supports this. A
    /// read of the bytes then reads the device. The address of `bytes`, its length and `offset`
    /// must be multiples of [`DIRECT_ALIGNMENT`]. Like any write, it is durable only after
    /// [`File::sync`].
    ///
    /// # Errors
    /// The error of the system call.
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }

    /// Returns another handle of the file, whose reads bypass the page cache. Their buffers, lengths
    /// and offsets must be multiples of [`DIRECT_ALIGNMENT`]. Returns `None` if that is not
    /// supported.
    fn to_direct(&self) -> Option<Arc<dyn File>> {
        None
    }

    /// Reserves disk space for writes between the bytes `offset` and `end`. The file's length does
    /// not change. Does nothing if the file system cannot reserve space.
    ///
    /// # Errors
    /// The disk is full, or another error of the system call.
    fn reserve(&self, offset: u64, end: u64) -> io::Result<()>;

    /// Makes the file's data and length durable (`fdatasync`). Do not retry a failed sync: the
    /// system may already have dropped the data, and the retry would succeed without it.
    ///
    /// # Errors
    /// The error of the system call.
    fn sync(&self) -> io::Result<()>;

    /// Returns the file's length in bytes.
    ///
    /// # Errors
    /// The error of the system call.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file's length is 0.
    ///
    /// # Errors
    /// The error of the system call.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// The error of the system call.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Drops the file's clean pages from the page cache, so that the next read reads the device.
    ///
    /// # Errors
    /// The error of the system call.
    fn drop_cache(&self) -> io::Result<()>;

    /// Returns the identity of the file. Returns `None` if the storage has no identities.
    ///
    /// # Errors
    /// The error of the system call.
    fn identity(&self) -> io::Result<Option<Identity>> {
        Ok(None)
    }

    /// Returns the file descriptor, for calls that copy from the file to a socket in the kernel.
    /// Returns `None` for a simulated file.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns whether the bytes are in an object store. A read may then fail because they have to
    /// be fetched first.
    fn is_remote(&self) -> bool {
        false
    }
}

/// The result of a removal, for which it is no failure that nothing is there.
pub(crate) fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads exactly `buf.len()` bytes.
///
/// # Errors
/// The error of a read; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact_at(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    DiskWait::Allowed.read_exact_at(file, buf, offset)
}

/// Returns the offset at which the trailing zeros of a file's first `len` bytes begin, or `len` if
/// there are none.
///
/// # Errors
/// The error of a read.
pub(crate) fn zeros_from(file: &dyn File, len: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut end = len;
    while end > 0 {
        let count = usize::try_from(end).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..count];
        let start = end - count as u64;
        read_exact_at(file, part, start)?;
        if let Some(last) = last_not_zero(part) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The index of the last byte that is not zero. Compares whole pages first, which is many times
/// faster, and reserved space is zeros for megabytes.
pub(crate) fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut rest = bytes;
    while let Some((before, page)) = rest.split_last_chunk()
        && *page == ZEROS
    {
        rest = before;
    }
    rest.iter().rposition(|byte| *byte != 0)
}

/// Writes all bytes.
///
/// # Errors
/// The error of a write, and the number of bytes written before it.
pub(crate) fn write_all_at(
    file: &dyn File,
    bytes: &[u8],
    offset: u64,
) -> Result<(), (io::Error, usize)> {
    write_all(bytes, |done| file.write_at(&bytes[done..], offset + done as u64))
}

/// Like [`write_all_at`], but bypasses the page cache. After a partial write, the rest may be
/// unaligned; it is then written through the page cache.
///
/// # Errors
/// The error of a write, and the number of bytes written before it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_at_every_place() {
        assert_eq!(last_not_zero(&[]), None);
        assert_eq!(last_not_zero(&[0; 9000]), None);
        for at in [0, 1, 903, 904, 905, 4095, 4096, 4999, 5000, 8191, 8192, 8999] {
            let mut bytes = [0; 9000];
            bytes[at] = 1;
            bytes[at / 2] |= 1;
            assert_eq!(last_not_zero(&bytes), Some(at), "{at}");
            assert_eq!(last_not_zero(&bytes[..=at]), Some(at), "{at}");
        }
    }
}
