//! [`DiskWait`]: whether a read may wait for the disk. Readers pass it down to the calls that read
//! a file.
//!
//! Invariant: with [`DiskWait::Forbidden`], no call waits for the disk.

use std::io;

use super::File;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskWait {
    /// The read may wait: it uses [`File::read_at`].
    Allowed,
    /// The read uses only the page cache, through [`File::try_read_at`].
    Forbidden,
}

impl DiskWait {
    /// Reads up to `buf.len()` bytes. Returns `None` if the read must not wait for the disk but
    /// would have to.
    ///
    /// # Errors
    /// The error of the system call.
    pub(crate) fn read_at(
        self,
        file: &dyn File,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<Option<usize>> {
        match self {
            DiskWait::Allowed => file.read_at(buf, offset).map(Some),
            DiskWait::Forbidden => file.try_read_at(buf, offset),
        }
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// The error of the system call; `UnexpectedEof` at the end of the file; `WouldBlock` if the
    /// read must not wait for the disk but would have to.
    pub(crate) fn read_exact_at(
        self,
        file: &dyn File,
        mut buf: &mut [u8],
        mut offset: u64,
    ) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(file, buf, offset) {
                Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(Some(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Some(n)) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
