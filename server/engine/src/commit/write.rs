//! Writing the bytes of a group, through the page cache or past it.

use bytes::Bytes;

use super::failure::Failure;
use crate::segment::name::Offset;
use crate::storage::{DIRECT_ALIGNMENT, File, write_all_at, write_all_direct_at};

/// Writes all parts one after the other, beginning at `offset`.
pub(crate) fn write_parts<'a>(
    file: &dyn File,
    parts: impl Iterator<Item = &'a Bytes>,
    offset: Offset,
) -> Result<(), Failure> {
    let mut before = 0;
    for part in parts {
        let at = offset + before as u64;
        write_all_at(file, part, at).map_err(|(error, written)| match before + written {
            0 => Failure::before_writing("a write", &error),
            _ => Failure::broken("a write", &error),
        })?;
        before += part.len();
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    write_all_at(file, bytes, offset).map_err(|(error, written)| match written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}

/// Like [`write`], but past the page cache from the first boundary on. The filler
/// before the boundary shares its page with earlier bytes, so it goes through the page cache.
pub(crate) fn write_aligned(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    let boundary = offset.next_multiple_of(DIRECT_ALIGNMENT as u64);
    let ahead = usize::try_from(boundary - offset).unwrap_or_default().min(bytes.len());
    let (filler, rest) = bytes.split_at(ahead);
    let whole_pages = rest.len().is_multiple_of(DIRECT_ALIGNMENT);
    if !whole_pages || rest.as_ptr().align_offset(DIRECT_ALIGNMENT) != 0 {
        return write(file, bytes, offset);
    }
    write(file, filler, offset)?;
    write_all_direct_at(file, rest, boundary).map_err(|(error, written)| match ahead + written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::sync::lock;

    /// A file that takes a number of bytes, and then fails.
    #[derive(Debug)]
    struct FullFile {
        bytes: Mutex<Vec<u8>>,
        bytes_max: usize,
    }

    impl File for FullFile {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn try_read_at(&self, _: &mut [u8], _: u64) -> io::Result<Option<usize>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            let mut written = lock(&self.bytes);
            assert_eq!(offset, 100 + written.len() as u64, "parts follow each other");
            let fitting = bytes.len().min(self.bytes_max - written.len());
            if fitting == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(&bytes[..fitting]);
            Ok(fitting)
        }
        fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn drop_cache(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A failure after the first byte of the group taints the log, in whichever part it occurs.
    #[test]
    fn only_a_failure_before_the_first_byte_leaves_the_log_intact() {
        let parts = [&b"head"[..], b"", b"body", b"filler"].map(Bytes::from_static);
        for bytes_max in 0..=14 {
            let file = FullFile { bytes: Mutex::default(), bytes_max };
            let written = write_parts(&file, parts.iter(), 100);
            match bytes_max {
                0 => assert!(matches!(written, Err(Failure::NoSpace)), "{written:?}"),
                14 => assert!(written.is_ok(), "{written:?}"),
                _ => assert!(matches!(written, Err(Failure::Broken(_))), "{written:?}"),
            }
            assert_eq!(*lock(&file.bytes), b"headbodyfiller"[..bytes_max]);
        }
    }
}
