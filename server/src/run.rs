//! [`run`]: the daemon, from its configuration to its exit.

use std::io::Write;
use std::path::PathBuf;
use std::thread::available_parallelism;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::listener::{Role, Sockets};
use crate::parent::ParentProcess;
use crate::port_file::PortFile;
use crate::systemd::Service;
use crate::{Config, Error, PassedSockets, Server, descriptors};

/// The requests of a program that starts a server for itself, such as a test.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A file to which the port is written when connections are accepted. It is removed at a clean
    /// stop.
    pub port_file: Option<PathBuf>,
    /// The process id of the parent; the server stops when this process ends.
    pub parent: Option<u32>,
}

/// Starts a runtime, serves until SIGINT, SIGTERM or the end of the parent in `options`, and
/// stops gracefully. SIGHUP loads the certificates and the files of tokens again. It ignores SIGUSR1 and SIGUSR2. When
/// it listens, it prints one line for each address to standard output: `listening on
/// http://ADDRESS`, or `metrics and health on http://ADDRESS` for the admin address. With TLS,
/// the lines have `https://`.
///
/// Call it while the process has one thread, because it removes the variables of systemd's sockets
/// from the environment.
///
/// # Errors
/// See [`Error`].
pub fn run(config: Config, options: RunOptions) -> Result<(), Error> {
    let cores = available_parallelism().map_or(1, usize::from);
    let workers = match config.worker_threads {
        // The committers need the other half.
        0 => (cores / 2).max(1),
        configured => configured,
    };
    let passed = PassedSockets::take()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("styx-worker")
        .enable_all()
        .build()
        .map_err(|source| Error::System { doing: "cannot start the runtime", source })?;
    let result = runtime.block_on(serve(config, options, passed));
    // A thread that writes a backup that nobody reads must not delay the exit.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config, options: RunOptions, passed: PassedSockets) -> Result<(), Error> {
    let failed = |source| Error::System { doing: "cannot listen for signals", source };
    let listen = |kind| signal(kind).map_err(failed);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    // Without a handler they would kill the server.
    let mut hangup = listen(SignalKind::hangup())?;
    let mut user_defined_1 = listen(SignalKind::user_defined1())?;
    let mut user_defined_2 = listen(SignalKind::user_defined2())?;
    let parent = options.parent.map(ParentProcess::watch).transpose()?;
    let parent_ended = async {
        match parent {
            Some(parent) => parent.ended().await,
            None => std::future::pending().await,
        }
    };
    let mut port_file = options.port_file.as_deref().map(PortFile::prepare).transpose()?;
    descriptors::raise_limit();
    let server = Server::bind(config, passed).await?;
    if let Some(port_file) = &mut port_file {
        port_file.publish(server.sockets())?;
    }
    let reload = server.reload();
    let addresses = announce(server.sockets());
    let service = Service::start(server.app().clone(), addresses);
    server
        .run(async {
            let mut parent_ended = std::pin::pin!(parent_ended);
            let signal = loop {
                let signal = tokio::select! {
                    () = &mut parent_ended => {
                        tracing::info!("the parent process has ended; stopping");
                        break None;
                    }
                    _ = interrupt.recv() => break Some("SIGINT"),
                    _ = terminate.recv() => break Some("SIGTERM"),
                    _ = hangup.recv() => match &reload {
                        Some(reload) => {
                            service.reloading().await;
                            reload();
                            service.reloaded().await;
                            continue;
                        }
                        None => "SIGHUP",
                    },
                    _ = user_defined_1.recv() => "SIGUSR1",
                    _ = user_defined_2.recv() => "SIGUSR2",
                };
                tracing::info!(signal, "ignored; restart the server to change its configuration");
            };
            if let Some(signal) = signal {
                tracing::info!(signal, "stopping");
            }
            service.stopping().await;
            // From now on, no new connection is served.
            drop(port_file);
        })
        .await
}

/// Says where the server listens, in its log and on standard output. Returns the addresses.
fn announce(sockets: &Sockets) -> String {
    let (mut lines, mut addresses) = (String::new(), Vec::new());
    for (role, listener) in sockets.all() {
        let address = listener.url();
        let doing = match role {
            Role::Main => "listening",
            Role::Admin => "metrics and health",
        };
        tracing::info!(address, "{doing}");
        lines.push_str(&format!("{doing} on {address}\n"));
        addresses.push(address);
    }
    // Standard output may be closed; that is no reason to stop.
    let mut out = std::io::stdout();
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    addresses.join(", ")
}
