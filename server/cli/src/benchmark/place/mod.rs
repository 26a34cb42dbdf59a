//! Where a benchmark happens: a directory for what it puts on the disk, and the
//! server that it talks to, its own or another. Whatever happens, Ctrl-C
//! included, its processes, directories and logs are gone in the end; after a
//! kill -9 its processes alone.

mod alone;
pub(super) mod descriptors;
mod interrupt;
mod log;
mod scratch;

use std::path::Path;

use styx_client::Address;
use styx_client::blocking::Client;

use crate::failure::Failure;

pub(super) use alone::Alone;
pub(super) use interrupt::{Duties, Duty};
pub(super) use log::Log;
pub(super) use scratch::Scratch;

/// The server that is measured.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) client: Client,
    /// Shown by clients that are not the client core.
    pub(super) token: Option<String>,
    pub(super) duties: Duties,
    /// The child process, when it was started for this.
    pub(super) alone: Option<Alone>,
}

impl Server {
    /// A server of our own, with its data in `data`.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn alone(data: &Path, duties: &Duties) -> Result<Server, Failure> {
        let alone = Alone::start(data, duties)?;
        let client = Client::builder(alone.address()).build()?;
        Ok(Server { client, token: None, duties: duties.clone(), alone: Some(alone) })
    }

    pub(super) fn address(&self) -> &Address {
        self.client.address()
    }
}
