//! Cursors: durable, named positions in a log, in which consumers store where they continue.
//!
//! ```text
//! set ─▶ lock `changing` ─▶ check the condition ─▶ temporary file, sync ─▶ rename ─▶
//!        sync directory ─▶ publish the new table ─▶ answer
//! get ─▶ the published table
//! ```
//!
//! All cursors of a log are in one file, which is read at the first call and replaced at every
//! change. The file is in the log's directory, so it outlives a truncate: a cursor of the log before
//! is reported as such, instead of as missing. Invariant: the published table is durable. If it is
//! not known which of two tables is durable, no table is published until a restart.

mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use styx_protocol::cursor::CURSORS_MAX;
use styx_protocol::{CursorName, LogId, Position};

use crate::format::Unusable;
use crate::log::LogInner;
use crate::sabotage::{Mistake, makes};
use crate::segment::name;
use crate::storage::{Storage, read_file, rename_durably, temporary_path, write_temporary};
use crate::sync::lock;
use crate::{Error, Log};

use table::Entry;
pub(crate) use table::{BYTES_MAX, CursorTable};

/// A durable, named position in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its name.
    pub name: CursorName,
    /// The log that the position belongs to. A log gets another id when it is truncated.
    pub log_id: LogId,
    /// The position of the next record to read.
    pub position: Position,
    /// The number of the last change. No two changes of the cursors of a log have the same number.
    pub version: u64,
    /// The version that the last change replaced; 0 if there was no such cursor.
    pub replaced: u64,
    /// When it was changed, in µs since the epoch.
    pub updated_us: u64,
}

/// How far the cursors of a log are behind its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CursorLag {
    /// The number of cursors.
    pub count: usize,
    /// The records between the cursor that is farthest behind and the durable end; 0 without
    /// cursors. Cursors of a log that was truncated since do not count.
    pub records_max: u64,
}

/// On which condition a cursor is changed or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorCondition {
    /// Always.
    None,
    /// Only if there is no such cursor.
    Absent,
    /// Only if there is such a cursor.
    Present,
    /// Only if the cursor has this version.
    Version(u64),
}

/// The cursors of a log.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// Held while the file is read or replaced, so that one change is made at a time.
    changing: Mutex<()>,
    /// Held for pointer work only.
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
enum State {
    /// The file was not read yet.
    #[default]
    Unread,
    Known(Arc<CursorTable>),
    /// No call works any more, for this reason.
    Unusable(Error),
}

impl Log {
    /// All cursors of the log, sorted by name. Those of another [`Cursor::log_id`] are older than
    /// the log. The first call waits for the disk.
    ///
    /// # Errors
    /// The file of the cursors is damaged; the log was removed; I/O.
    pub fn cursors(&self) -> Result<Vec<Cursor>, Error> {
        let table = self.0.cursors.table(&self.0)?;
        Ok(table.cursors.iter().map(|(name, entry)| entry.cursor(name)).collect())
    }

    /// How far the cursors are behind, without a copy of them. The first call waits for the disk.
    ///
    /// # Errors
    /// As [`Log::cursors`].
    pub fn cursor_lag(&self) -> Result<CursorLag, Error> {
        let table = self.0.cursors.table(&self.0)?;
        let end = self.end_position();
        let own = table.cursors.values().filter(|entry| entry.log_id == self.0.id);
        let lags = own.map(|entry| end.since(entry.position));
        Ok(CursorLag { count: table.cursors.len(), records_max: lags.max().unwrap_or(0) })
    }

    /// A cursor. The first call waits for the disk.
    ///
    /// # Errors
    /// [`Error::CursorNotFound`]; [`Error::CursorOfOtherLog`] if the cursor is older than the log,
    /// which was truncated since; as [`Log::cursors`].
    pub fn cursor(&self, name: &CursorName) -> Result<Cursor, Error> {
        let table = self.0.cursors.table(&self.0)?;
        let entry = table.cursors.get(name).ok_or_else(|| not_found(name))?;
        entry.check_log(name, self.0.id)?;
        Ok(entry.cursor(name))
    }

    /// Creates or changes a cursor. It is durable when this returns. Blocks.
    ///
    /// A cursor of a log that was truncated since is replaced if there is no condition.
    ///
    /// # Errors
    /// - [`Error::CursorBeyondEnd`]: the position is after the log's durable end.
    /// - [`Error::CursorTaken`]: the condition does not hold; the error has the cursor's state.
    /// - [`Error::CursorOfOtherLog`]: there is a condition, and the cursor is older than the log.
    /// - [`Error::TooManyCursors`], and as [`Log::cursors`].
    pub fn set_cursor(
        &self,
        name: &CursorName,
        position: Position,
        condition: CursorCondition,
    ) -> Result<Cursor, Error> {
        let log = &self.0;
        log.check_writable()?;
        let end = log.tail.live_view()?.durable.position;
        if position > end {
            return Err(Error::CursorBeyondEnd { position, end });
        }
        log.cursors.change(log, |table| {
            let old = table.cursors.get(name).copied();
            condition.check(name, old, log.id)?;
            if old.is_none() && table.cursors.len() >= CURSORS_MAX {
                return Err(Error::TooManyCursors { max: CURSORS_MAX });
            }
            table.last_version += 1;
            let entry = Entry {
                log_id: log.id,
                position,
                version: table.last_version,
                replaced: old.map_or(0, |old| old.version),
                updated_us: log.services.stamps.now_us(),
            };
            table.cursors.insert(name.clone(), entry);
            Ok(entry.cursor(name))
        })
    }

    /// Deletes a cursor. It is durably gone when this returns. Blocks.
    ///
    /// # Errors
    /// [`Error::CursorNotFound`] if there is no condition; otherwise as [`Log::set_cursor`].
    pub fn delete_cursor(
        &self,
        name: &CursorName,
        condition: CursorCondition,
    ) -> Result<(), Error> {
        self.0.check_writable()?;
        self.0.cursors.change(&self.0, |table| {
            let old = table.cursors.get(name).copied();
            condition.check(name, old, self.0.id)?;
            table.cursors.remove(name).map(drop).ok_or_else(|| not_found(name))
        })
    }
}

impl Cursors {
    /// The file's content for a backup: the cursors whose positions belong to this log. `None` if
    /// the log never had a cursor. Must be called before the backup takes its view of the log, so
    /// that no cursor is after the end of the copy.
    pub(crate) fn backup(&self, log: &LogInner) -> Option<Vec<u8>> {
        match self.table(log) {
            Ok(table) if table.last_version == 0 => None,
            Ok(table) => Some(table.only_of(log.id).encode()),
            Err(error) => {
                tracing::warn!(log = %log.name, %error, "the backup has no cursors");
                None
            }
        }
    }

    /// Refuses all further calls with this error. Waits for a change that is being made.
    pub(crate) fn close_with(&self, error: &Error) {
        let _changing = lock(&self.changing);
        *lock(&self.state) = State::Unusable(error.clone());
    }

    /// Prevents changes while the result exists, for work that changes the directory's name.
    pub(crate) fn pause(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    fn table(&self, log: &LogInner) -> Result<Arc<CursorTable>, Error> {
        let known = lock(&self.state).clone();
        match known {
            State::Unread => {
                let _changing = lock(&self.changing);
                self.read(log)
            }
            State::Known(table) => Ok(table),
            State::Unusable(error) => Err(error),
        }
    }

    /// The published table, which is read from the file first if needed. `changing` is locked.
    fn read(&self, log: &LogInner) -> Result<Arc<CursorTable>, Error> {
        let known = lock(&self.state).clone();
        match known {
            State::Known(table) => return Ok(table),
            State::Unusable(error) => return Err(error),
            State::Unread => {}
        }
        // A damaged file is read again at the next call: the operator may have removed it.
        let table = Arc::new(read(&*log.segment_directory.storage, &log.directory)?);
        *lock(&self.state) = State::Known(Arc::clone(&table));
        Ok(table)
    }

    /// Changes the table, durably.
    fn change<T>(
        &self,
        log: &LogInner,
        change: impl FnOnce(&mut CursorTable) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _changing = lock(&self.changing);
        let mut table = CursorTable::clone(&*self.read(log)?);
        let changed = change(&mut table)?;
        if log.is_displaced() {
            return Err(Error::CursorsUnusable {
                path: path(&log.directory),
                cause: log.displaced(),
            });
        }
        match replace(&*log.segment_directory.storage, &path(&log.directory), &table.encode()) {
            Ok(()) => {
                *lock(&self.state) = State::Known(Arc::new(table));
                Ok(changed)
            }
            Err(ReplaceError::Unchanged(error)) => {
                Err(Error::io("cannot write", path(&log.directory))(error))
            }
            Err(ReplaceError::Unknown(error)) => {
                let cause = format!(
                    "it is not known whether its last change is durable ({error}): restart the server"
                );
                let error = Error::CursorsUnusable { path: path(&log.directory), cause };
                tracing::error!(log = %log.name, %error, "the log's cursors cannot be used any more");
                *lock(&self.state) = State::Unusable(error.clone());
                Err(error)
            }
        }
    }
}

impl CursorCondition {
    fn check(self, name: &CursorName, old: Option<Entry>, log_id: LogId) -> Result<(), Error> {
        let holds = match (self, old) {
            (CursorCondition::None, _) => return Ok(()),
            (CursorCondition::Absent, old) => old.is_none(),
            (CursorCondition::Present, old) => old.is_some(),
            (CursorCondition::Version(version), old) => {
                old.is_some_and(|old| old.version == version)
            }
        };
        if let Some(old) = old {
            old.check_log(name, log_id)?;
        }
        match holds {
            true => Ok(()),
            false => Err(Error::CursorTaken {
                name: name.to_string(),
                now: old.map(|old| Box::new(old.cursor(name))),
            }),
        }
    }
}

impl Entry {
    fn cursor(&self, name: &CursorName) -> Cursor {
        let Entry { log_id, position, version, replaced, updated_us } = *self;
        Cursor { name: name.clone(), log_id, position, version, replaced, updated_us }
    }

    fn check_log(&self, name: &CursorName, log_id: LogId) -> Result<(), Error> {
        match self.log_id == log_id {
            true => Ok(()),
            false => Err(Error::CursorOfOtherLog { name: name.to_string(), id: self.log_id }),
        }
    }
}

impl CursorTable {
    /// The same table with only the cursors of this log.
    pub(crate) fn only_of(&self, id: LogId) -> CursorTable {
        let mut only = self.clone();
        only.cursors.retain(|_, entry| entry.log_id == id);
        only
    }
}

/// The path of the file in the log's directory.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join(name::CURSORS)
}

/// Reads the cursors of the log in this directory. A log without the file has no cursors.
///
/// # Errors
/// The file is damaged or from a newer version; I/O.
pub(crate) fn read(storage: &dyn Storage, directory: &Path) -> Result<CursorTable, Error> {
    let path = path(directory);
    // After a kill between the rename and the sync of the directory, the new name of the file can be
    // read but is not durable yet.
    storage.sync_dir(directory).map_err(Error::io("cannot sync", directory))?;
    check(storage, &path).map(Option::unwrap_or_default)
}

/// Reads the file without changing anything. `None` if there is no file.
///
/// # Errors
/// As [`read`].
pub(crate) fn check(storage: &dyn Storage, path: &Path) -> Result<Option<CursorTable>, Error> {
    let unusable = |cause: String| Error::CursorsUnusable { path: path.to_owned(), cause };
    match read_file(storage, path, BYTES_MAX) {
        Ok(bytes) => CursorTable::decode(&bytes).map(Some).map_err(|problem| match problem {
            Unusable::Newer(newer) => newer.error(path),
            Unusable::Damaged(problem) => unusable(format!(
                "it {problem}; restore it from a backup, or remove it to begin without cursors"
            )),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(unusable("it is too large to be a file of cursors: move it away".to_owned()))
        }
        Err(error) => Err(Error::io("cannot read", path)(error)),
    }
}

enum ReplaceError {
    /// The path still has the old content.
    Unchanged(io::Error),
    /// The path has the old or the new content, and a power cut may change which.
    Unknown(io::Error),
}

/// Replaces the file, durably.
fn replace(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let file = write_temporary(storage, path, bytes).map_err(ReplaceError::Unchanged)?;
    if makes(Mistake::CursorBeforeSync) {
        return storage.rename(&temporary_path(path), path).map_err(ReplaceError::Unknown);
    }
    // The temporary file is new, so a failed sync affects nothing that exists.
    file.sync().map_err(ReplaceError::Unchanged)?;
    rename_durably(storage, path).map_err(ReplaceError::Unknown)
}

fn not_found(name: &CursorName) -> Error {
    Error::CursorNotFound { name: name.to_string() }
}
