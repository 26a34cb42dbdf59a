//! Reads, sets and deletes cursors. All of it may wait for the disk, so it runs on blocking
//! threads.
//!
//! The changes of a log are made one after the other, and each waits for syncs. Invariant: changes
//! use a bounded number of blocking threads, so that reads always find one.

use std::sync::Arc;

use styx_engine::Cursor;
use styx_protocol::{Code, CursorInfo, CursorName, Position};
use tokio::sync::Semaphore;

use super::{CursorCondition, Error, OpenLog, Sessions, blocking};

/// Changes at a time, of all logs together.
const CHANGES_MAX: usize = 32;

/// The permits of changes.
#[derive(Debug)]
pub(super) struct CursorChanges(Arc<Semaphore>);

impl Default for CursorChanges {
    fn default() -> CursorChanges {
        CursorChanges(Arc::new(Semaphore::new(CHANGES_MAX)))
    }
}

impl OpenLog {
    /// All cursors of the log, sorted by name.
    pub(crate) async fn cursors(&self) -> Result<Vec<CursorInfo>, Error> {
        let log = self.log.clone();
        let cursors = blocking(move || log.cursors()).await?;
        Ok(cursors.into_iter().map(info).collect())
    }

    /// One cursor.
    pub(crate) async fn cursor(&self, name: &str) -> Result<CursorInfo, Error> {
        let (log, name) = (self.log.clone(), existing(name)?);
        blocking(move || log.cursor(&name)).await.map(info)
    }
}

impl Sessions {
    /// Creates or changes a cursor, durably.
    pub(crate) async fn set_cursor(
        &self,
        log: &OpenLog,
        name: &str,
        position: Position,
        condition: CursorCondition,
    ) -> Result<CursorInfo, Error> {
        let name: CursorName = name.parse().map_err(|e: styx_protocol::cursor::InvalidName| {
            Error::new(Code::InvalidParams, e.to_string())
        })?;
        let log = log.log.clone();
        self.change(move || log.set_cursor(&name, position, condition)).await.map(info)
    }

    /// Deletes a cursor, durably.
    pub(crate) async fn delete_cursor(
        &self,
        log: &OpenLog,
        name: &str,
        condition: CursorCondition,
    ) -> Result<(), Error> {
        let (log, name) = (log.log.clone(), existing(name)?);
        self.change(move || log.delete_cursor(&name, condition)).await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce() -> Result<T, styx_engine::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.cursor_changes.0).acquire_owned().await;
        // The permit stays with the work if the request is cancelled.
        blocking(move || {
            let _permit = permit;
            change()
        })
        .await
    }
}

pub(super) fn info(cursor: Cursor) -> CursorInfo {
    CursorInfo {
        cursor: cursor.name.to_string(),
        log_id: cursor.log_id,
        position: cursor.position.0,
        updated: cursor.updated_us,
        version: cursor.version,
    }
}

/// Parses the name of a cursor that should exist.
fn existing(name: &str) -> Result<CursorName, Error> {
    name.parse().map_err(|invalid: styx_protocol::cursor::InvalidName| {
        Error::new(Code::CursorNotFound, format!("there is no such cursor: {invalid}"))
    })
}
