//! Backups and restores, in chunks. The files and streams belong to JavaScript.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use napi::bindgen_prelude::External;
use napi_derive::napi;
use styx_client::{Client, Error, logs};

use crate::client::ClientHandle;
use crate::errors::thrown;
use crate::hub::{Answer, SharedHub};

/// A backup or restore, which one call at a time uses. It is gone once such a call is cancelled.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T: Send + 'static> Slot<T> {
    fn new() -> Slot<T> {
        Slot(Arc::default())
    }

    fn share(&self) -> Slot<T> {
        Slot(Arc::clone(&self.0))
    }

    fn take(&self, what: &str) -> Result<T, Error> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take().ok_or_else(|| Error::closed(what))
    }

    fn clear(&self) {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(value);
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Uses the value for one step.
    async fn step<R, F>(self, what: &'static str, step: impl FnOnce(T) -> F) -> Result<R, Error>
    where
        F: Future<Output = (T, Result<R, Error>)>,
    {
        let value = self.take(what)?;
        let (value, result) = step(value).await;
        self.put(value);
        result
    }
}

/// A backup that is being received.
pub(crate) struct BackupHandle {
    hub: SharedHub,
    client: Client,
    slot: Slot<logs::Backup>,
}

/// A restore that is being sent. Without `finish_restore`, the server creates no log.
pub(crate) struct RestoreHandle {
    hub: SharedHub,
    client: Client,
    slot: Slot<logs::Restore>,
}

/// Opens a backup. `drain` returns `token` when it is open.
#[napi]
pub fn open_backup(
    client: &External<ClientHandle>,
    token: i64,
    name: String,
) -> napi::Result<External<BackupHandle>> {
    let core = client.core().map_err(|error| thrown(&error))?;
    let (opening, slot) = (core.clone(), Slot::new());
    let opened = slot.share();
    client.hub.start(&core, token, async move {
        opened.put(opening.backup_log(&name).await?);
        Ok(Answer::Nothing)
    })?;
    Ok(External::new(BackupHandle { hub: Arc::clone(&client.hub), client: core, slot }))
}

/// The result of the call is the next bytes of the archive, or nothing at its end.
#[napi]
pub fn read_backup(backup: &External<BackupHandle>, token: i64) -> napi::Result<()> {
    let slot = backup.slot.share();
    backup.hub.start(&backup.client, token, async move {
        let chunk = slot.step("backup", |mut backup| async move {
            let next = backup.next_chunk().await;
            (backup, next)
        });
        Ok(chunk.await?.map_or(Answer::Nothing, Answer::Bytes))
    })
}

/// Ends the backup now, instead of when the handle is collected. No call uses it.
#[napi]
pub fn drop_backup(backup: &External<BackupHandle>) {
    backup.slot.clear();
}

/// Opens a restore. `drain` returns `token` when it is open.
#[napi]
pub fn open_restore(
    client: &External<ClientHandle>,
    token: i64,
    name: String,
) -> napi::Result<External<RestoreHandle>> {
    let core = client.core().map_err(|error| thrown(&error))?;
    let (opening, slot) = (core.clone(), Slot::new());
    let opened = slot.share();
    client.hub.start(&core, token, async move {
        opened.put(opening.restore_log(&name).await?);
        Ok(Answer::Nothing)
    })?;
    Ok(External::new(RestoreHandle { hub: Arc::clone(&client.hub), client: core, slot }))
}

/// Sends the next bytes of the archive. Copies them.
#[napi]
pub fn write_restore(
    restore: &External<RestoreHandle>,
    token: i64,
    chunk: &[u8],
) -> napi::Result<()> {
    let (slot, chunk) = (restore.slot.share(), Bytes::copy_from_slice(chunk));
    restore.hub.start(&restore.client, token, async move {
        let written = slot.step("restore", |mut restore| async move {
            let written = restore.write(chunk).await;
            (restore, written)
        });
        written.await.map(|()| Answer::Nothing)
    })
}

/// The archive is complete: creates the log.
#[napi]
pub fn finish_restore(restore: &External<RestoreHandle>, token: i64) -> napi::Result<()> {
    let slot = restore.slot.share();
    restore.hub.start(&restore.client, token, async move {
        slot.take("restore")?.finish().await.map(|_| Answer::Nothing)
    })
}

/// Ends the restore now, instead of when the handle is collected: there is no log. No call uses it.
#[napi]
pub fn drop_restore(restore: &External<RestoreHandle>) {
    restore.slot.clear();
}
