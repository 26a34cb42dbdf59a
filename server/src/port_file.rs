//! [`PortFile`]: the port of the server and its further addresses, in a file for the program that started it.
//!
//! ```text
//! PATH.<pid>.tmp, empty ─▶ the server listens ─▶ port written ─▶ renamed to PATH ─▶ removed
//! ```
//!
//! A program that sees the file reads a whole port number, and can connect. The file is locked
//! while the server runs: only the lock shows that its server is there. Invariant: nothing is
//! replaced or removed that is not a port file, or that another server has locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::listener::{Listener, Sockets};
use crate::pid_file::is_at;

/// A port file that exists, or will exist, at `path`. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PortFile {
    path: PathBuf,
    temporary: PathBuf,
    // Closing the file releases the lock.
    file: File,
}

impl PortFile {
    /// Removes the file that a killed server left at `path`, and creates an empty file beside it,
    /// so that a path that cannot be used is an error before anything else is opened.
    pub(crate) fn prepare(path: &Path) -> Result<PortFile, Error> {
        let failed = |source| Error::PortFile { path: path.to_owned(), source };
        remove_old(path).map_err(failed)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(failed)?;
        let prepared = PortFile { path: path.to_owned(), temporary, file };
        match prepared.file.try_lock() {
            Ok(()) => Ok(prepared),
            Err(TryLockError::WouldBlock) => Err(failed(in_use())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Writes the port of the first TCP address, or 0 if there is none, and gives the file its
    /// name. If there are more addresses, each of them is a further line.
    pub(crate) fn publish(&mut self, sockets: &Sockets) -> Result<(), Error> {
        let main = &sockets.main;
        let port = main.iter().find_map(Listener::port);
        let mut text = format!("{}\n", port.unwrap_or(0));
        if main.len() > 1 || port.is_none() || !sockets.admin.is_empty() {
            sockets.all().for_each(|(_, listener)| text.push_str(&format!("{}\n", listener.url())));
        }
        let written = self.write(&text);
        written.map_err(|source| Error::PortFile { path: self.path.clone(), source })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        std::fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        for path in [&self.temporary, &self.path] {
            // Another server may have replaced it.
            if is_at(path, &self.file)
                && let Err(error) = std::fs::remove_file(path)
            {
                tracing::warn!(path = %path.display(), "cannot remove the port file: {error}");
            }
        }
    }
}

/// Removes a port file that no server has locked.
fn remove_old(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(io::Error::other("it exists and is not a file; choose another path")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut old = File::open(path)?;
    match old.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut content = Vec::new();
    Read::by_ref(&mut old).take(16).read_to_end(&mut content)?;
    // A program may have created an empty file to reserve the name.
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_port = std::str::from_utf8(line).is_ok_and(|line| line.parse::<u16>().is_ok());
    if !content.is_empty() && !is_port {
        let message = "it exists and does not contain a port; move it away or choose another path";
        return Err(io::Error::other(message));
    }
    match is_at(path, &old) {
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

fn in_use() -> io::Error {
    io::Error::other("a running server uses it; stop that server or choose another path")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, which is removed when the test ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            let number = getrandom::u64().expect("random");
            let path = std::env::temp_dir().join(format!("styx-port-{number:x}"));
            std::fs::create_dir(&path).expect("created");
            Directory(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).expect("listed");
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into()).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn port_file_appears_whole_and_is_removed() {
        let directory = Directory::new();
        let path = directory.0.join("port");
        let mut file = PortFile::prepare(&path).expect("prepared");
        assert!(!path.exists(), "the server does not listen yet");
        file.write("7123\n").expect("published");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "7123\n");
        assert_eq!(directory.names(), ["port"]);
        let refused = PortFile::prepare(&path).expect_err("it is locked").to_string();
        assert!(refused.contains("a running server uses it"), "{refused}");
        drop(file);
        drop(PortFile::prepare(&path).expect("it is free"));
        assert_eq!(directory.names(), Vec::<String>::new());
    }

    #[test]
    fn only_port_files_are_replaced() {
        let directory = Directory::new();
        let path = directory.0.join("port");
        for left in ["", "7123\n", "0\nunix:///run/\u{e9}\u{e9}\u{e9}.sock\n"] {
            std::fs::write(&path, left).expect("written");
            drop(PortFile::prepare(&path).expect("a killed server left it"));
        }
        std::fs::write(&path, "bind_address = 1").expect("written");
        let refused = PortFile::prepare(&path).expect_err("not ours").to_string();
        assert!(refused.contains("does not contain a port"), "{refused}");
        let refused = PortFile::prepare(&directory.0).expect_err("a directory").to_string();
        assert!(refused.contains("is not a file"), "{refused}");
        let missing = directory.0.join("missing/port");
        let refused = PortFile::prepare(&missing).expect_err("no directory").to_string();
        assert!(refused.contains("missing/port"), "{refused}");
        assert_eq!(directory.names(), ["port"]);
    }
}
