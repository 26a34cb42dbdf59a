//! What a benchmark creates and uses: a directory on the disk, and the server that it
//! measures, which it started or which was running. All processes, directories and
//! logs of the run are removed at its end, also after Ctrl-C. After a kill -9 only the
//! processes are gone.

mod child_server;
mod cleanup;
pub(super) mod descriptors;
mod page_cache;
mod scratch;
mod temporary_log;

use std::path::Path;

use styx_client::Address;
use styx_client::blocking::Client;

use crate::Error;

pub(super) use child_server::{ChildServer, Encrypted};
pub(super) use cleanup::{Cleanup, CleanupAction};
pub(super) use scratch::ScratchDirectory;
pub(super) use temporary_log::TemporaryLog;

/// The server that is measured.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) client: Client,
    /// A client with threads of its own, for consumers beside a producer: an ack must not
    /// wait while a thread handles what a consumer receives.
    pub(super) consumers: Client,
    /// The bearer token for connections that do not use the client core.
    pub(super) token: Option<String>,
    pub(super) cleanup: Cleanup,
    /// The child process, if the server was started for the run.
    pub(super) child: Option<ChildServer>,
}

impl Server {
    /// Starts a child server with its data in `data`.
    ///
    /// # Errors
    /// The server does not start.
    pub(super) fn start_child(data: &Path, cleanup: &Cleanup) -> Result<Server, Error> {
        Server::start(data, Encrypted::No, cleanup)
    }

    /// As [`start_child`](Self::start_child), with or without TLS.
    ///
    /// # Errors
    /// The server does not start.
    pub(super) fn start(
        data: &Path,
        encrypted: Encrypted,
        cleanup: &Cleanup,
    ) -> Result<Server, Error> {
        let child = ChildServer::start(data, encrypted, cleanup)?;
        let connect = || {
            let builder = Client::builder(child.address());
            match child.ca_file() {
                Some(file) => builder.ca_file(file).build(),
                None => builder.build(),
            }
        };
        let (client, consumers) = (connect()?, connect()?);
        Ok(Server { client, consumers, token: None, cleanup: cleanup.clone(), child: Some(child) })
    }

    /// The child process.
    ///
    /// # Errors
    /// The server was not started for the run.
    pub(super) fn own(&self) -> Result<&ChildServer, Error> {
        let text = "this workload needs a server that the benchmark starts; run it without --host";
        self.child.as_ref().ok_or_else(|| Error::Misuse(text.to_owned()))
    }

    pub(super) fn address(&self) -> &Address {
        self.client.address()
    }
}
