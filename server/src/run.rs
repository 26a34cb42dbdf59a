//! [`run`]: the daemon from a configuration to its exit.

use crate::{Config, Error, Server};

/// Starts a runtime, serves until SIGINT or SIGTERM, stops gracefully. Prints
/// one line to standard output once it listens: `listening on http://ADDRESS`.
///
/// # Errors
/// See [`Error`].
pub fn run(config: Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|source| Error::System { doing: "cannot start the runtime", source })?;
    runtime.block_on(async { Server::bind(config).await?.run(std::future::pending()).await })
}
