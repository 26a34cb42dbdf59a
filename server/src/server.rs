//! [`Server`]: binds its addresses, then runs until it is told to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::certificates::Certificates;
use crate::descriptors::Shares;
use crate::http::{Http, Surface};
use crate::limits::Limits;
use crate::listener::{Connections, Listener, Role, Sockets};
use crate::pid_file::PidFile;
use crate::session::{self, Sessions};
use crate::websocket::WebSocket;
use crate::{Config, Error, PassedSockets, auth, statsd, stream};

/// How long closing the logs may take if requests have used up the whole
/// `shutdown_timeout`.
const CLOSE_TIME_MIN: Duration = Duration::from_secs(1);

/// How often the free space of the disk is looked at, for the metrics.
const DISK_INTERVAL: Duration = Duration::from_secs(10);

/// A server that listens and has its data directory open.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    sockets: Sockets,
    shares: Shares,
    certificates: Option<Arc<Certificates>>,
    // Dropped last, which removes the file.
    _pid_file: Option<PidFile>,
}

impl Server {
    /// Locks the pid file, binds the addresses that systemd has not `passed` as sockets, and opens
    /// the data directory. The logs are opened in the background.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(config: Config, passed: PassedSockets) -> Result<Server, Error> {
        let pid_file = config.pid_file.as_deref().map(PidFile::take).transpose()?;
        let certificates =
            config.tls.files().map(|files| Certificates::load(&files)).transpose()?;
        let auth = auth::Store::open(&config)?;
        let limits = Limits::open(&config)?;
        let sockets = Sockets::open(&config, passed).await?;
        let shares = Shares::of_this_process(config.max_connections);
        let sessions = Sessions::open(&config, shares.open_files).await?;
        shares.warn_if_small(config.max_connections, sessions.list().len());
        for address in sockets.main.iter().filter(|listener| !listener.is_local()) {
            warn_about_exposure(&address.url(), &config, auth.is_on());
        }
        let is_restart = sockets.main.iter().any(Listener::is_passed);
        let app = Arc::new(App::new(sessions, config, auth, limits, is_restart));
        let certificates = certificates.map(Arc::new);
        if let Some(certificates) = &certificates {
            app.metrics.show_certificate(certificates.clone());
        }
        Ok(Server { app, sockets, shares, certificates, _pid_file: pid_file })
    }

    /// What its connections share.
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The sockets that it listens on, with the ports that the system chose.
    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Loads the certificates and the files of tokens and limits again when it is called; `None`
    /// if it has neither TLS nor `[auth.jwt]` nor a limits file. A file that cannot be used is an error in the log, and
    /// nothing changes.
    pub(crate) fn reload(&self) -> Option<impl Fn() + Send + 'static> {
        let (certificates, auth) = (self.certificates.clone(), self.app.auth.clone());
        let limits = self.app.limits.clone();
        (certificates.is_some() || auth.has_keys() || limits.is_on()).then_some(move || {
            if let Some(certificates) = &certificates {
                certificates.reload();
            }
            auth.reload();
            limits.reload();
        })
    }

    /// Serves until `shutdown` resolves. Then it accepts no more connections, finishes
    /// and answers current requests, ends connections that wait for records, and
    /// closes every log, within `shutdown_timeout`.
    ///
    /// # Errors
    /// [`Error::ShutdownTimeout`] if logs could not be closed in time; acknowledged
    /// records are safe nevertheless.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let app = self.app;
        let statsd = app.config.statsd.clone().map(|to| tokio::spawn(statsd::run(to, app.clone())));
        let tokens = tokio::spawn(app.auth.clone().watch());
        let limits =
            app.limits.is_on().then(|| tokio::spawn(app.limits.clone().watch(app.clone())));
        let mut front_ends = stream::front_ends();
        front_ends.push(Box::new(WebSocket));
        let Sockets { main, admin } = self.sockets;
        let surface = if admin.is_empty() { Surface::Whole } else { Surface::WithoutMetrics };
        let http = Arc::new(Http::new(app.clone(), surface, front_ends));
        let certificates = self.certificates;
        let mut connections = Connections::new(http, Role::Main, self.shares, certificates.clone());
        let http = Arc::new(Http::new(app.clone(), Surface::Admin, Vec::new()));
        let mut monitoring =
            Connections::new(http, Role::Admin, self.shares.of_admin(), certificates.clone());
        tokio::select! {
            () = connections.accept_all(&main) => {}
            () = monitoring.accept_all(&admin) => {}
            () = watch(certificates) => {}
            () = watch_disk(&app) => {}
            () = shutdown => {}
        }
        let begun = Instant::now();
        let time_max = app.config.shutdown_timeout;
        drop((main, admin));
        app.shutdown.begin();
        let (cut_off, _) = tokio::join!(connections.drain(time_max), monitoring.drain(time_max));
        if cut_off > 0 {
            tracing::warn!(connections = cut_off, "stopped with requests still under way");
        }
        tokens.abort();
        for task in statsd.into_iter().chain(limits) {
            task.abort();
        }
        let left = time_max.saturating_sub(begun.elapsed()).max(CLOSE_TIME_MIN);
        if app.sessions.close(left).await {
            tracing::info!("stopped");
            Ok(())
        } else {
            Err(Error::ShutdownTimeout { seconds: begun.elapsed().as_secs() })
        }
    }
}

/// Warns about what others on the network can do.
fn warn_about_exposure(address: &str, config: &Config, has_access_control: bool) {
    if !has_access_control {
        tracing::warn!(
            address,
            "no access control: anyone who can connect to this address can read, write and delete \
             every log; create a token with `styx token create`, or bind to 127.0.0.1"
        );
    } else if !config.has_tls() {
        tracing::warn!(
            address,
            "tokens and records are not encrypted: anyone on the network between a client and this \
             server can read them; set up [tls], or bind to 127.0.0.1"
        );
    }
}

/// Keeps the metrics of the disk current; never resolves.
async fn watch_disk(app: &App) {
    loop {
        tokio::time::sleep(DISK_INTERVAL).await;
        let directory = app.config.log_manager.data_directory.clone();
        app.metrics.set_disk_space(session::space_of(directory).await);
    }
}

/// Notices changed certificates; never resolves.
async fn watch(certificates: Option<Arc<Certificates>>) {
    match certificates {
        Some(certificates) => certificates.watch().await,
        None => std::future::pending().await,
    }
}
