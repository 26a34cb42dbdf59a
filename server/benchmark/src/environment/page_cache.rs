//! The pages that the kernel caches of the files in a directory. A benchmark drops them
//! to measure reads from the disk, or fills them to measure reads without it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// Bytes of one read while the cache is filled.
const READ_BYTES: usize = 1 << 20;

/// Drops the cached pages of all files in `directory` and its subdirectories. Pages that
/// are not on the disk yet stay cached. Returns the number of files.
///
/// # Errors
/// A directory or a file cannot be read. A file that disappears meanwhile is no error.
pub(super) fn drop_pages(directory: &Path) -> io::Result<u64> {
    let mut files = 0;
    each_file(directory, &mut |file| {
        files += 1;
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    })?;
    Ok(files)
}

/// Reads all files in `directory` and its subdirectories through the page cache. Returns
/// the number of bytes.
///
/// # Errors
/// As for [`drop_pages`].
pub(super) fn fill(directory: &Path) -> io::Result<u64> {
    let (mut bytes, mut buffer) = (0, vec![0; READ_BYTES]);
    each_file(directory, &mut |mut file| {
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => bytes += read as u64,
            }
        }
    })?;
    Ok(bytes)
}

fn each_file(directory: &Path, action: &mut impl FnMut(&File) -> io::Result<()>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            each_file(&entry.path(), action)?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => action(&file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_subdirectories_are_read_and_dropped_and_stay_unchanged() {
        let top = std::env::temp_dir().join(format!("styx-page-cache-{}", std::process::id()));
        let inner = top.join("logs").join("a");
        std::fs::create_dir_all(&inner).expect("a directory");
        let (first, second) = (top.join("first"), inner.join("second"));
        std::fs::write(&first, [1; 5000]).expect("a file");
        std::fs::write(&second, vec![2; READ_BYTES + 1]).expect("a file");
        assert_eq!(fill(&top).expect("all can be read"), 5000 + READ_BYTES as u64 + 1);
        assert_eq!(drop_pages(&top).expect("all can be dropped"), 2);
        assert_eq!(std::fs::read(&first).expect("a file"), [1; 5000]);
        assert!(drop_pages(&first).is_err(), "a file is not a directory");
        std::fs::remove_dir_all(&top).expect("it can be removed");
    }
}
