//! Directories of logs that were added, replaced or removed by hand: adopts logs, and deletes only
//! what belongs to a log.
//!
//! Invariant: a directory that this catalog did not create or open is never changed, except when it
//! is adopted.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use styx_protocol::{LogId, LogName};

use super::inner::{CatalogInner, ReservedName};
use super::slot::{Slot, not_found, removed};
use crate::manifest::Manifest;
use crate::recovery::read_manifest;
use crate::segment::name;
use crate::storage::{Lock, replace_file};
use crate::sync::lock;
use crate::{Error, Log, Removal, data_directory, log_directory};

/// A deletion that has begun: what remains to be removed.
#[derive(Debug)]
pub(super) enum Deletion {
    /// The log's directory was removed or replaced by hand. There is nothing to remove.
    Displaced,
    /// The directory, or the link to it, has this new name.
    Aside(PathBuf),
    /// The directory must stay, because something else is in it or because it is a mount point.
    InPlace,
}

impl CatalogInner {
    /// Reserves a name for a new log.
    ///
    /// # Errors
    /// The log exists; something else has its name; I/O.
    pub(super) fn reserve_new(&self, name: &LogName) -> Result<ReservedName<'_>, Error> {
        let reserved = match self.reserve(name) {
            Err(Error::LogExists { .. }) if self.forget_removed(name)? => self.reserve(name)?,
            reserved => reserved?,
        };
        match self.is_there(name)? {
            false => Ok(reserved),
            true => {
                let directory = self.directory(name);
                Err(log_directory::name_taken(&*self.options.storage, &directory))
            }
        }
    }

    /// Frees the name of a log whose directory was removed by hand. Returns whether it did.
    fn forget_removed(&self, name: &LogName) -> Result<bool, Error> {
        if self.is_there(name)? {
            return Ok(false);
        }
        let Ok((old, reserved)) = self.take(name) else { return Ok(false) };
        // Another caller may have created the log in the meantime.
        if self.is_there(name).unwrap_or(true) {
            reserved.put_back(old);
            return Ok(false);
        }
        if let Slot::Open(log) = old {
            log.0.close_with(&lock(&log.0.archive), &removed(name, Removal::Deleted));
        }
        tracing::warn!(log = %name, "the log's directory was removed by hand");
        reserved.clear();
        Ok(true)
    }

    /// Whether anything in the data directory has this name.
    fn is_there(&self, name: &LogName) -> Result<bool, Error> {
        let directory = self.directory(name);
        let exists = self.options.storage.exists(&directory);
        exists.map_err(Error::io("cannot examine", &directory))
    }

    /// Opens a log that was put into the data directory by hand. Gives it a new id if an open log
    /// has the same id.
    pub(super) fn adopt(&self, name: &LogName) -> Result<Log, Error> {
        let storage = &*self.options.storage;
        let directory = self.directory(name);
        if !self.is_there_exactly(name)? {
            return Err(not_found(name));
        }
        if !log_directory::examine(storage, &directory).is_log {
            return Err(log_directory::not_served(storage, &directory));
        }
        let locks = log_directory::lock_linked(storage, &directory)?;
        let manifest = read_manifest(storage, &directory)?;
        if let Some(original) = self.open_log_with(manifest.id) {
            let id = self.new_id()?;
            let manifest = Manifest { id, has_archive_manifest: false, ..manifest };
            let path = directory.join(name::MANIFEST);
            replace_file(storage, &path, manifest.encode().as_bytes())
                .map_err(Error::io("cannot write", &path))?;
            tracing::info!(log = %name, %original, id = %manifest.id, "the adopted log is a copy, so it got a new id");
        }
        let log = self.recover_locked(name, directory, locks)?;
        tracing::info!(log = %name, "adopted a log");
        Ok(log)
    }

    /// As [`CatalogInner::is_there`], also on a file system that ignores case, where another log's
    /// directory has this name too.
    pub(super) fn is_there_exactly(&self, name: &LogName) -> Result<bool, Error> {
        if !self.is_there(name)? {
            return Ok(false);
        }
        let data = &self.options.data_directory;
        let entries = self.options.storage.list(data).map_err(Error::io("cannot list", data))?;
        Ok(entries.iter().any(|entry| entry.name == name.as_str()))
    }

    /// Logs a warning for each open log with the same id as another one. Which of them is the copy
    /// is not known, so both keep it.
    pub(super) fn warn_of_copies(&self) {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = HashMap::new();
        for slot in slots.values() {
            if let Slot::Open(log) = slot
                && let Some(other) = names.insert(log.id(), log.name())
            {
                tracing::warn!(
                    id = %log.id(),
                    "the logs {other} and {} have the same id, because one is a copy: back up the copy, delete it and restore it",
                    log.name()
                );
            }
        }
    }

    /// The id of a log, even if it could not be opened; `None` if it has no readable manifest.
    pub(super) fn id_of(&self, name: &LogName, slot: &Slot) -> Option<LogId> {
        match slot {
            Slot::Open(log) | Slot::Removing(log) => Some(log.id()),
            _ => {
                let manifest = read_manifest(&*self.options.storage, &self.directory(name));
                manifest.ok().map(|manifest| manifest.id)
            }
        }
    }

    fn open_log_with(&self, id: LogId) -> Option<LogName> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().find_map(|slot| match slot {
            Slot::Open(log) | Slot::Removing(log) if log.id() == id => Some(log.name().clone()),
            _ => None,
        })
    }

    /// Makes sure that no other process uses the directory of a log that is about to be changed. An
    /// open log has its locks already; of another one they are returned.
    ///
    /// # Errors
    /// Another process uses it; the directory of an open log was removed or replaced.
    pub(super) fn lock_for_change(
        &self,
        directory: &Path,
        slot: &Slot,
    ) -> Result<Vec<Box<dyn Lock>>, Error> {
        match slot {
            Slot::Open(log) if log.0.is_displaced() => {
                log.0.taint(&log.0.displaced());
                Err(log.0.not_available())
            }
            Slot::Open(_) => Ok(Vec::new()),
            _ => log_directory::lock_linked(&*self.options.storage, directory),
        }
    }

    /// Takes the log's files out of use: renames its directory, or the link to it, if nothing else
    /// is in it.
    pub(super) fn begin_deletion(&self, name: &LogName, slot: &Slot) -> Result<Deletion, Error> {
        let storage = &*self.options.storage;
        let directory = self.directory(name);
        let is_displaced = match slot {
            Slot::Open(log) => log.0.is_displaced(),
            _ => false,
        };
        let entries = match storage.list(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Deletion::Displaced);
            }
            _ if is_displaced => return Ok(Deletion::Displaced),
            entries => entries.map_err(Error::io("cannot list", &directory))?,
        };
        if !log_directory::is_log(storage, &directory, &entries) {
            return Err(log_directory::name_taken(storage, &directory));
        }
        let _locks = self.lock_for_change(&directory, slot)?;
        let foreign = log_directory::foreign_file(storage, &directory)
            .map_err(Error::io("cannot list", &directory))?;
        if foreign.is_some() && !log_directory::is_link(storage, &directory) {
            return Ok(Deletion::InPlace);
        }
        let aside = self.unused_path(data_directory::DELETED)?;
        match storage.rename(&directory, &aside) {
            Ok(()) => Ok(Deletion::Aside(aside)),
            // A mount point cannot be renamed.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
                ) =>
            {
                Ok(Deletion::InPlace)
            }
            Err(error) => Err(Error::io("cannot remove", &directory)(error)),
        }
    }

    /// Removes a log that was just created. Its name is removed durably before its files, so that a
    /// power cut does not leave a part of them. What cannot be removed now is removed, or served as
    /// an empty log, after the next start.
    pub(super) fn discard(&self, name: &LogName) {
        let storage = &*self.options.storage;
        let Ok(aside) = self.unused_path(data_directory::DELETED) else { return };
        let renamed = storage.rename(&self.directory(name), &aside);
        if renamed.and_then(|()| storage.sync_dir(&self.options.data_directory)).is_ok() {
            let _ = log_directory::remove(storage, &aside);
        }
    }

    /// Removes the files of a log that is out of use.
    pub(super) fn finish_deletion(&self, name: &LogName, deletion: Deletion) -> Result<(), Error> {
        let storage = &*self.options.storage;
        let path = match deletion {
            Deletion::Displaced => {
                tracing::warn!(log = %name, "the log's directory was removed or replaced by hand");
                return Ok(());
            }
            Deletion::Aside(aside) => aside,
            Deletion::InPlace => self.directory(name),
        };
        let is_link = log_directory::is_link(storage, &path);
        match log_directory::remove(storage, &path) {
            Ok(None) => Ok(()),
            Ok(Some(kept)) if is_link => {
                let kept = kept.file_name().unwrap_or_default().display();
                tracing::info!(log = %name, %kept, "this file in the directory behind the log's link was kept");
                Ok(())
            }
            Ok(Some(kept)) => {
                storage.sync_dir(&path).map_err(Error::io("cannot sync", path))?;
                Err(Error::DirectoryKept { name: name.to_string(), path: kept })
            }
            // The directory of the log is a mount point. Its files are gone.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                storage.sync_dir(&path).map_err(Error::io("cannot sync", path))
            }
            Err(error) => Err(Error::io("cannot remove", path)(error)),
        }
    }
}
