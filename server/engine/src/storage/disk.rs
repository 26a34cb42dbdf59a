//! [`Disk`]: whether who reads may wait for it.

use std::io;

use super::File;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// [`File::read_at`].
    May,
    /// [`File::try_read_at`]: what is in the page cache alone.
    MayNot,
}

impl Disk {
    /// Reads up to `buf.len()` bytes; `None` when the disk would have to be waited
    /// for and may not be.
    ///
    /// # Errors
    /// As the call.
    pub(crate) fn read_at(
        self,
        file: &dyn File,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<Option<usize>> {
        match self {
            Disk::May => file.read_at(buf, offset).map(Some),
            Disk::MayNot => file.try_read_at(buf, offset),
        }
    }

    /// Fills the buffer.
    ///
    /// # Errors
    /// As the call; `UnexpectedEof` at the end; `WouldBlock` when the disk would have
    /// to be waited for and may not be.
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
