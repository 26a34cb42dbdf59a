//! [`Server`]: binds its address, then runs until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::app::App;
use crate::certificates::Certificates;
use crate::descriptors::Shares;
use crate::http::Http;
use crate::listener::{self, Connections};
use crate::pid_file::PidFile;
use crate::session::Sessions;
use crate::websocket::WebSocket;
use crate::{Config, Error, auth, statsd, stream};

/// How long closing the logs may take if requests have used up the whole
/// `shutdown_timeout`.
const CLOSE_TIME_MIN: Duration = Duration::from_secs(1);

/// A server that listens and has its data directory open.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    shares: Shares,
    certificates: Option<Arc<Certificates>>,
    // Dropped last, which removes the file.
    _pid_file: Option<PidFile>,
}

impl Server {
    /// Locks the pid file, binds the address and opens the data directory. The logs
    /// are opened in the background.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(config: Config) -> Result<Server, Error> {
        let pid_file = config.pid_file.as_deref().map(PidFile::take).transpose()?;
        let certificates =
            config.tls.files().map(|files| Certificates::load(&files)).transpose()?;
        let failed = |source| Error::Bind { address: config.bind_address.to_string(), source };
        let auth = auth::Store::open(&config)?;
        let listener = listener::bind(&config.bind_address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shares = Shares::of_this_process(config.max_connections);
        let sessions = Sessions::open(&config, shares.open_files).await?;
        shares.warn_if_small(config.max_connections, sessions.list().len());
        warn_about_exposure(address, &config, auth.is_on());
        let app = Arc::new(App::new(sessions, config, auth));
        Ok(Server {
            app,
            listener,
            address,
            shares,
            certificates: certificates.map(Arc::new),
            _pid_file: pid_file,
        })
    }

    /// The address it listens on, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL with this address.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Loads the certificate again when it is called; `None` without TLS. A file that
    /// cannot be used is an error in the log, and the old certificate stays.
    pub(crate) fn reload_certificates(&self) -> Option<impl Fn() + Send + 'static> {
        self.certificates.clone().map(|certificates| move || certificates.reload())
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
        let mut front_ends = stream::front_ends();
        front_ends.push(Box::new(WebSocket));
        let http = Arc::new(Http::new(app.clone(), front_ends));
        let mut connections = Connections::new(http, self.shares, self.certificates.clone());
        tokio::select! {
            () = connections.accept_all(&self.listener) => {}
            () = watch(self.certificates) => {}
            () = shutdown => {}
        }
        let begun = Instant::now();
        let time_max = app.config.shutdown_timeout;
        drop(self.listener);
        app.shutdown.begin();
        let cut_off = connections.drain(time_max).await;
        if cut_off > 0 {
            tracing::warn!(connections = cut_off, "stopped with requests still under way");
        }
        tokens.abort();
        if let Some(task) = statsd {
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
fn warn_about_exposure(address: SocketAddr, config: &Config, has_access_control: bool) {
    if address.ip().is_loopback() {
        return;
    }
    if !has_access_control {
        tracing::warn!(
            %address,
            "no access control: anyone who can connect to this address can read, write and delete \
             every log; create a token with `styx token create`, or bind to 127.0.0.1"
        );
    } else if !config.has_tls() {
        tracing::warn!(
            %address,
            "tokens and records are not encrypted: anyone on the network between a client and this \
             server can read them; set up [tls], or bind to 127.0.0.1"
        );
    }
}

/// Notices changed certificates; never resolves.
async fn watch(certificates: Option<Arc<Certificates>>) {
    match certificates {
        Some(certificates) => certificates.watch().await,
        None => std::future::pending().await,
    }
}
