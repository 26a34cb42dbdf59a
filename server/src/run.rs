//! [`run`]: the daemon, from its configuration to its exit.

use std::io::Write;
use std::thread::available_parallelism;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Config, Error, Server, descriptors};

/// Starts a runtime, serves until SIGINT or SIGTERM, and stops gracefully. It ignores
/// SIGHUP, SIGUSR1 and SIGUSR2. When it listens, it prints one line to standard output:
/// `listening on http://ADDRESS`.
///
/// # Errors
/// See [`Error`].
pub fn run(config: Config) -> Result<(), Error> {
    let cores = available_parallelism().map_or(1, usize::from);
    let workers = match config.worker_threads {
        // The committers need the other half.
        0 => (cores / 2).max(1),
        configured => configured,
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("styx-worker")
        .enable_all()
        .build()
        .map_err(|source| Error::System { doing: "cannot start the runtime", source })?;
    let result = runtime.block_on(serve(config));
    // A thread that writes a backup that nobody reads must not delay the exit.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<(), Error> {
    let failed = |source| Error::System { doing: "cannot listen for signals", source };
    let listen = |kind| signal(kind).map_err(failed);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    // Without a handler they would kill the server.
    let mut hangup = listen(SignalKind::hangup())?;
    let mut user_defined_1 = listen(SignalKind::user_defined1())?;
    let mut user_defined_2 = listen(SignalKind::user_defined2())?;
    descriptors::raise_limit();
    let server = Server::bind(config).await?;
    let address = server.local_addr();
    tracing::info!(%address, "listening");
    // Standard output may be closed; that is no reason to stop.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
    server
        .run(async {
            let signal = loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => break "SIGINT",
                    _ = terminate.recv() => break "SIGTERM",
                    _ = hangup.recv() => "SIGHUP",
                    _ = user_defined_1.recv() => "SIGUSR1",
                    _ = user_defined_2.recv() => "SIGUSR2",
                };
                tracing::info!(signal, "ignored; restart the server to change its configuration");
            };
            tracing::info!(signal, "stopping");
        })
        .await
}
