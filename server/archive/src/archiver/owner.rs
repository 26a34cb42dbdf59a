//! The owner: a random number in the data directory, and the name of the machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::manifest::Owner;

/// The name of the file. It has 32 hex digits.
const FILE: &str = "archive.owner";

/// Reads the number of a data directory, or chooses one and stores it durably.
///
/// # Errors
/// The file cannot be read or written, or something else is in it.
pub(crate) fn read_or_create(directory: &Path) -> io::Result<Owner> {
    let path = directory.join(FILE);
    let id = match fs::read_to_string(&path) {
        Ok(text) => u128::from_str_radix(text.trim(), 16).map_err(|_| {
            let why = format!("{}: not 32 hex digits: remove the file", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(directory, &path)?,
        Err(e) => return Err(e),
    };
    Ok(Owner { id, name: machine() })
}

/// Chooses another number for a data directory and stores it durably, so that copies of the directory
/// are other owners.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn renew(directory: &Path) -> io::Result<Owner> {
    Ok(Owner { id: create(directory, &directory.join(FILE))?, name: machine() })
}

/// The name of the machine.
fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(64).collect()
}

fn create(directory: &Path, path: &Path) -> io::Result<u128> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let id = u128::from_be_bytes(random);
    let temporary = path.with_file_name("archive.owner.new");
    let mut file = File::create(&temporary)?;
    file.write_all(format!("{id:032x}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_stays_the_same_and_differs_between_directories() {
        let [a, b] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
        let first = read_or_create(a.path()).expect("created");
        assert_eq!(read_or_create(a.path()).expect("read"), first);
        assert_ne!(read_or_create(b.path()).expect("created").id, first.id);
        let renewed = renew(a.path()).expect("renewed");
        assert_ne!(renewed.id, first.id);
        assert_eq!(read_or_create(a.path()).expect("read"), renewed);
        fs::write(a.path().join(FILE), "x").expect("write");
        assert!(read_or_create(a.path()).is_err());
    }
}
