//! Backups and restores, in chunks.

use std::ffi::c_char;

use ::styx_client::{Error, Kind, logs};
use bytes::Bytes;

use crate::client::styx_client;
use crate::error::{fallible, infallible, styx_error, wait};
use crate::pointer::{bytes, check_out, give, object, object_mut, store, take_back, text};

/// A backup that is being received. One thread at a time may use it.
pub struct styx_backup {
    backup: logs::Backup,
    chunk: Bytes,
}

/// A restore that is being sent. One thread at a time may use it.
pub struct styx_restore {
    /// `None` after it has failed or finished.
    restore: Option<logs::Restore>,
}

/// Begins a backup of a log. Free it with styx_backup_free(), also in the middle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_backup_open(
    client: *const styx_client,
    name: *const c_char,
    backup: *mut *mut styx_backup,
) -> *mut styx_error {
    fallible(|| {
        check_out(backup, "backup")?;
        // SAFETY: the caller's promises.
        let (client, name) = unsafe { (object(client, "client")?, text(name, "name")?) };
        let opened = wait(client.core.backup_log(name))?;
        let opened = styx_backup { backup: opened, chunk: Bytes::new() };
        // SAFETY: the caller's promise.
        unsafe { store(backup, give(opened)) };
        Ok(())
    })
}

/// Waits for the next bytes of the archive. At its end, `size` is 0. The bytes are valid until the
/// next call with this backup.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_backup_next(
    backup: *mut styx_backup,
    data: *mut *const u8,
    size: *mut usize,
) -> *mut styx_error {
    fallible(|| {
        check_out(data, "data")?;
        check_out(size, "size")?;
        // SAFETY: the caller's promise.
        let backup = unsafe { object_mut(backup, "backup") }?;
        backup.chunk = wait(backup.backup.next_chunk())?.unwrap_or_default();
        // SAFETY: the caller's promises.
        unsafe {
            store(data, backup.chunk.as_ptr());
            store(size, backup.chunk.len());
        }
        Ok(())
    })
}

/// Frees a backup. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_backup_free(backup: *mut styx_backup) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(backup) }));
}

/// Begins to create a log from an archive. Without styx_restore_finish(), there is no new log. Free
/// it with styx_restore_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_restore_open(
    client: *const styx_client,
    name: *const c_char,
    restore: *mut *mut styx_restore,
) -> *mut styx_error {
    fallible(|| {
        check_out(restore, "restore")?;
        // SAFETY: the caller's promises.
        let (client, name) = unsafe { (object(client, "client")?, text(name, "name")?) };
        let opened = styx_restore { restore: Some(wait(client.core.restore_log(name))?) };
        // SAFETY: the caller's promise.
        unsafe { store(restore, give(opened)) };
        Ok(())
    })
}

/// Sends the next bytes of the archive. Copies them. After it has failed, the restore has ended: every
/// later call fails with STYX_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_restore_write(
    restore: *mut styx_restore,
    data: *const u8,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (restore, chunk) = unsafe { (object_mut(restore, "restore")?, bytes(data, size)?) };
        let open = restore.restore.as_mut().ok_or_else(|| Error::closed("restore"))?;
        let written = wait(open.write(Bytes::copy_from_slice(chunk)));
        if written.as_ref().is_err_and(|error| error.kind() != Kind::Forked) {
            restore.restore = None;
        }
        written
    })
}

/// The archive is complete: creates the log. After that, the restore has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_restore_finish(restore: *mut styx_restore) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let restore = unsafe { object_mut(restore, "restore") }?;
        let open = restore.restore.take().ok_or_else(|| Error::closed("restore"))?;
        wait(open.finish()).map(drop)
    })
}

/// Frees a restore. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_restore_free(restore: *mut styx_restore) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(restore) }));
}
