//! Changes a token file: one process at a time, and never in parts.
//!
//! ```text
//! lock PATH.lock ─▶ read ─▶ change ─▶ PATH.tmp, mode 0600 ─▶ sync ─▶ rename ─▶ sync the directory
//! ```
//!
//! The lock is on a file of its own, because the rename replaces the token file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{TokenFile, TokenFileError};

/// Only the owner may read or write it.
const MODE: u32 = 0o600;

impl TokenFile {
    /// Changes the file, which is created if it does not exist, with its directory. Other
    /// callers wait meanwhile. If `change` fails, nothing is written.
    ///
    /// The file belongs to the owner of the old one, or of the directory, so that root can
    /// make a token for a server that runs as another user.
    ///
    /// # Errors
    /// The error of `change`; or the file cannot be read or written, or was not valid before.
    pub fn change<T, E: From<TokenFileError>>(
        path: &Path,
        change: impl FnOnce(&mut TokenFile) -> Result<T, E>,
    ) -> Result<T, E> {
        let directory = directory_of(path);
        create_directory(directory)?;
        let owner = owner_of(path).or_else(|| owner_of(directory));
        let _lock = lock(&with_suffix(path, ".lock"), owner)?;
        let mut file = TokenFile::read(path)?.unwrap_or_default();
        let done = change(&mut file)?;
        if let Err(reason) = file.check() {
            return Err(TokenFileError::Content { path: path.to_owned(), reason }.into());
        }
        replace(path, directory, &file.to_string(), owner)?;
        Ok(done)
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TokenFileError {
    let path = path.to_owned();
    move |source| {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => " (run styx as the owner of the directory)",
            _ => "",
        };
        TokenFileError::Io { doing, path, source, hint }
    }
}

fn create_directory(directory: &Path) -> Result<(), TokenFileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(failed("create", directory))
}

/// User and group of a file or directory.
type Owner = (u32, u32);

fn owner_of(path: &Path) -> Option<Owner> {
    std::fs::metadata(path).ok().map(|found| (found.uid(), found.gid()))
}

/// Gives a new file to its owner. Only root can do that, and only root needs to.
fn give(file: &File, owner: Option<Owner>) {
    if let Some((user, group)) = owner {
        let _ = fchown(file, Some(user), Some(group));
    }
}

/// Waits for the lock. It is released when the file is closed.
fn lock(path: &Path, owner: Option<Owner>) -> Result<File, TokenFileError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(MODE).open(path);
    let file = file.map_err(failed("create", path))?;
    give(&file, owner);
    file.lock().map_err(failed("lock", path))?;
    Ok(file)
}

fn replace(
    path: &Path,
    directory: &Path,
    text: &str,
    owner: Option<Owner>,
) -> Result<(), TokenFileError> {
    let temporary = with_suffix(path, ".tmp");
    // One that a killed process left may have another mode.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        _ => {}
    }
    let written = write(&temporary, text, owner).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed("write", path)(error));
    }
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

fn write(path: &Path, text: &str, owner: Option<Owner>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    // The umask may have removed bits from the mode.
    file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
    give(&file, owner);
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{Credential, StoredSecret, Token};
    use super::*;
    use crate::auth::Secret;

    fn directory() -> PathBuf {
        let name = format!("styx-tokens-{:x}", getrandom::u64().expect("random"));
        std::env::temp_dir().join(name)
    }

    fn add(path: &Path, name: &str) -> Result<(), TokenFileError> {
        TokenFile::change(path, |file| {
            let hash = Secret::generate().expect("random").hash();
            let secret = StoredSecret {
                hash,
                created: "2026-01-01T00:00:00Z".parse().expect("a time"),
                expires: None,
            };
            file.tokens.push(Token {
                name: name.to_owned(),
                allow: Vec::new(),
                credential: Credential::Secrets(vec![secret]),
            });
            Ok(())
        })
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let directory = directory();
        let path = directory.join("below/tokens.toml");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let path = &path;
                scope.spawn(move || add(path, &format!("t{number}")).expect("it is added"));
            }
        });
        let file = TokenFile::read(&path).expect("it is valid").expect("it exists");
        assert_eq!(file.tokens.len(), 16);
        let mode = std::fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn failed_change_leaves_the_file_as_it_was() {
        let directory = directory();
        let path = directory.join("tokens.toml");
        add(&path, "ci").expect("it is added");
        let before = std::fs::read_to_string(&path).expect("it exists");
        let error = add(&path, "ci").expect_err("twice").to_string();
        assert!(error.contains("two tokens ci"), "{error}");
        let error = add(&path, "c i").expect_err("no name").to_string();
        assert!(error.contains("letters"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), before);
        std::fs::write(&path, "[[token]]").expect("written");
        assert!(add(&path, "x").is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), "[[token]]");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
