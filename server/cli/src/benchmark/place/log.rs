//! [`Log`]: a log for one measurement, deleted when it is dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use styx_client::LogConfig;
use styx_client::blocking::Client;

use super::interrupt::Entered;
use super::{Duty, Server};
use crate::failure::Failure;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A log that is ours alone.
#[derive(Debug)]
pub(in crate::benchmark) struct Log {
    client: Client,
    name: String,
    /// Our own server goes as a whole.
    _duty: Option<Entered>,
}

impl Log {
    /// Creates one under a name that nobody else has.
    pub(in crate::benchmark) fn create(server: &Server) -> Result<Log, Failure> {
        Log::with(server, LogConfig::default())
    }

    /// The same, with a configuration.
    pub(in crate::benchmark) fn with(server: &Server, config: LogConfig) -> Result<Log, Failure> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("styx-benchmark-{}-{number}", std::process::id());
        let client = server.client.clone();
        client.create_log(&name, config, false)?;
        let delete = || server.duties.enter(Duty::Delete(client.clone(), name.clone()));
        let duty = server.alone.is_none().then(delete);
        Ok(Log { client, name, _duty: duty })
    }

    pub(in crate::benchmark) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A server that has gone has taken it along, or will show it by its name.
        let _ = self.client.delete_log(&self.name);
    }
}
