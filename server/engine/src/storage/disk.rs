//! [`DiskWait`]: whether a read may wait for the disk.

use std::io;

use super::File;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskWait {
    /// Reads with [`File::read_at`].
    Allowed,
    /// Reads with [`File::try_read_at`], only from the page cache.
    Forbidden,
}

impl DiskWait {
    /// Reads up to `buf.len()` bytes; `None` if the read would have to wait for the disk and must
    /// not.
    ///
    /// # Errors
    /// Those of the call.
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

    /// Fills the buffer.
    ///
    /// # Errors
    /// Those of the call; `UnexpectedEof` at the end; `WouldBlock` if the read would have to wait
    /// for the disk and must not.
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
