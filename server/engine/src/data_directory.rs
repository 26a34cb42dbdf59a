//! The content of a data directory, before any log in it is open.

use std::io;
use std::path::Path;

use styx_protocol::LogName;

use crate::format::check_data_directory;
use crate::segment::name;
use crate::storage::{Lock, Storage, probe, replace_file};
use crate::{Error, legacy, log_directory};

/// The lock file in a data directory, and in the directory of a log behind a symbolic link.
pub(crate) const LOCK: &str = ".lock";

/// The file that marks the data directory of a read replica.
pub(crate) const REPLICA: &str = ".replica";

const REPLICA_TEXT: &[u8] =
    b"This directory belongs to a Styx read replica: its logs are copied from an archive.\n";

/// Prefixes of directories that are being restored or were deleted.
pub(crate) const RESTORING: &str = ".restoring-";
pub(crate) const DELETED: &str = ".deleted-";

/// Whose logs a data directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its own.
    Primary,
    /// Those of other servers.
    Replica,
}

/// Checks that a locked data directory has logs of this kind, and marks a new directory of a
/// replica, durably.
///
/// # Errors
/// It has logs of the other kind; I/O.
pub(crate) fn check_role(
    storage: &dyn Storage,
    directory: &Path,
    role: Role,
    has_logs: bool,
) -> Result<(), Error> {
    let path = directory.join(REPLICA);
    let is_marked = storage.exists(&path).map_err(Error::io("cannot examine", &path))?;
    let shown = directory.display();
    match (role, is_marked) {
        (Role::Primary, false) | (Role::Replica, true) => Ok(()),
        (Role::Primary, true) => Err(Error::DataDirectory {
            message: format!(
                "the data directory {shown} belongs to a read replica: start it with `styx serve --replica-of URL`, or choose another directory; `styx restore` makes logs of an archive that can be written"
            ),
        }),
        (Role::Replica, false) if has_logs => Err(Error::DataDirectory {
            message: format!(
                "the data directory {shown} has logs that a read replica would replace: choose an empty directory for the replica"
            ),
        }),
        (Role::Replica, false) => {
            replace_file(storage, &path, REPLICA_TEXT).map_err(Error::io("cannot write", path))
        }
    }
}

/// Creates the data directory and its missing parents, and makes their names durable. Without
/// that, no acknowledgement is durable.
pub(crate) fn create_directory(storage: &dyn Storage, directory: &Path) -> Result<(), Error> {
    storage.create_dir_all(directory).map_err(Error::io("cannot create", directory))?;
    let absolute = std::path::absolute(directory).map_err(Error::io("cannot name", directory))?;
    for above in absolute.ancestors().skip(1) {
        match storage.sync_dir(above) {
            Ok(()) => {}
            // A directory that cannot be opened was not created by this process.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            Err(error) => return Err(Error::io("cannot sync", above)(error)),
        }
    }
    Ok(())
}

/// Locks the directory for this process.
pub(crate) fn lock_directory(
    storage: &dyn Storage,
    directory: &Path,
) -> Result<Box<dyn Lock>, Error> {
    let path = directory.join(LOCK);
    let content = format!("{}\n", std::process::id());
    match storage.lock(&path, &content).map_err(Error::io("cannot lock", &path))? {
        Ok(lock) => Ok(lock),
        Err(holder) => Err(in_use(directory, &holder)),
    }
}

/// Locks the directory for reading and changes nothing in it. No server can use the directory
/// while the lock is held, but other readers can. The inner `Err` says why it cannot be locked: the
/// lock file is missing or cannot be opened, or the file system has no locks.
pub(crate) fn lock_for_reading(
    storage: &dyn Storage,
    directory: &Path,
) -> Result<io::Result<Box<dyn Lock>>, Error> {
    match storage.lock_shared(&directory.join(LOCK)) {
        Ok(Ok(lock)) => Ok(Ok(lock)),
        Ok(Err(holder)) => Err(in_use(directory, &holder)),
        Err(error) => Ok(Err(error)),
    }
}

/// The error for a directory that another process has locked. `holder` is the content of the lock
/// file; it is empty if the process is not known.
fn in_use(directory: &Path, holder: &str) -> Error {
    let process = match holder {
        "" => "another process, such as `styx verify`".to_owned(),
        holder => format!("process {holder}"),
    };
    Error::DataDirectory {
        message: format!(
            "the data directory {} is in use by {process}: stop it, or choose another directory",
            directory.display()
        ),
    }
}

/// The logs in a data directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The names of all logs, sorted. A log that cannot be listed is one of them, so that its status
    /// tells why.
    pub(crate) logs: Vec<LogName>,
    /// One message for each entry that has the name of a log but is none. It was left alone.
    pub(crate) others: Vec<String>,
}

/// Lists the logs. Symbolic links to logs are logs. A directory of Styx 0.x or of a newer version is
/// refused and not changed.
pub(crate) fn list_logs(storage: &dyn Storage, directory: &Path) -> Result<Listing, Error> {
    check_data_directory(storage, directory)?;
    let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
    let mut listing = Listing::default();
    for entry in &entries {
        let Ok(log) = entry.name.parse::<LogName>() else { continue };
        let path = directory.join(&entry.name);
        let is_log = match storage.list(&path) {
            Ok(inside) => {
                let has =
                    |name: &str| inside.iter().any(|inner| !inner.is_dir && inner.name == name);
                if !has(name::MANIFEST) && legacy::is_log(&inside) {
                    let directory = directory.display();
                    return Err(Error::DataDirectory {
                        message: format!(
                            "{directory} is a data directory of Styx 0.x (its log {log}); it was not changed: copy its logs with `styx import {directory} --data-directory NEW`, then serve NEW"
                        ),
                    });
                }
                log_directory::is_log(storage, &path, &inside)
            }
            // A file, or a link to a file or to nothing.
            Err(error) if !entry.is_dir => {
                !matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound)
            }
            // It was removed during the listing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => true,
        };
        if is_log {
            listing.logs.push(log);
        } else {
            let what = log_directory::examine(storage, &path).what;
            listing
                .others
                .push(format!("{} is {what}; it is not a log and was left alone", path.display()));
        }
    }
    listing.logs.sort();
    Ok(listing)
}

/// Removes the remains of interrupted creations, deletes, restores, repairs, imports and
/// measurements, and logs each of them. One that cannot be removed is left for the next start,
/// because no log needs its name.
pub(crate) fn remove_leftovers(storage: &dyn Storage, directory: &Path) -> Result<(), Error> {
    // A killed process may have renamed a log without a sync. A power cut could bring the log back
    // under its name, but without the files that are removed here.
    storage.sync_dir(directory).map_err(Error::io("cannot sync", directory))?;
    let entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
    for entry in entries {
        if entry.name.starts_with(RESTORING) || entry.name.starts_with(DELETED) {
            let path = directory.join(&entry.name);
            let removed = log_directory::remove(storage, &path);
            let path = path.display();
            match removed {
                Ok(None) => tracing::info!(%path, "removed what an interrupted command left"),
                Ok(Some(kept)) => tracing::warn!(
                    %path, kept = %kept.display(),
                    "removed what an interrupted command left, except files that are not part of a log; move them away"
                ),
                Err(error) => tracing::warn!(
                    %path, %error,
                    "cannot remove what an interrupted command left; remove it by hand"
                ),
            }
        } else if entry.name.starts_with(probe::PREFIX) && !entry.is_dir {
            // `--check-storage` may be using it right now, and then removes it itself.
            let _ = storage.remove_file(&directory.join(&entry.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealStorage;

    #[test]
    fn readers_share_the_lock_and_exclude_a_server() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let read = || lock_for_reading(&RealStorage, path);
        let unlocked = read().expect("no server uses it").expect_err("there is no lock file");
        assert_eq!(unlocked.kind(), io::ErrorKind::NotFound);
        assert_eq!(RealStorage.list(path).expect("a list"), [], "a reader creates no file");

        let server = lock_directory(&RealStorage, path).expect("locked");
        let refused = read().expect_err("a server uses it").to_string();
        assert!(refused.contains(&format!("in use by process {}:", std::process::id())));
        drop(server);

        let readers =
            [read(), read()].map(|lock| lock.expect("no server uses it").expect("locked"));
        let refused = lock_directory(&RealStorage, path).expect_err("it is read").to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
        drop(readers);
        lock_directory(&RealStorage, path).expect("locked");
    }
}
