//! [`TemporaryLog`]: a log for one measurement. It is deleted when it is dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use styx_client::LogConfig;
use styx_client::blocking::Client;

use super::cleanup::CleanupGuard;
use super::{CleanupAction, Server};
use crate::Error;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A log that only this process uses.
#[derive(Debug)]
pub(crate) struct TemporaryLog {
    client: Client,
    name: String,
    /// `None` on a child server, whose data directory is removed as a whole.
    _guard: Option<CleanupGuard>,
}

impl TemporaryLog {
    /// Creates a log with a name that is unique to this process.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub(crate) fn create(server: &Server) -> Result<TemporaryLog, Error> {
        TemporaryLog::with(server, LogConfig::default())
    }

    /// As [`create`](Self::create), with a configuration.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub(crate) fn with(server: &Server, config: LogConfig) -> Result<TemporaryLog, Error> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("styx-benchmark-{}-{number}", std::process::id());
        let client = server.client.clone();
        client.create_log(&name, config, false)?;
        let delete = || server.cleanup.add(CleanupAction::Delete(client.clone(), name.clone()));
        let guard = server.child.is_none().then(delete);
        Ok(TemporaryLog { client, name, _guard: guard })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TemporaryLog {
    fn drop(&mut self) {
        // If a server is gone, the log went with it, or its name tells users where it
        // comes from.
        let _ = self.client.delete_log(&self.name);
    }
}
