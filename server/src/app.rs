//! [`App`]: what every connection needs, whatever its protocol.

use std::sync::Arc;
use std::time::Instant;

use crate::auth;
use crate::config::Config;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::session::Sessions;
use crate::shutdown::Shutdown;

/// Shared by all front ends.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) sessions: Sessions,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    pub(crate) auth: Arc<auth::Store>,
    /// When the server started.
    pub(crate) started: Instant,
    pub(crate) limits: Limits,
}

impl App {
    /// `is_restart` if the listening sockets stay open when the server stops.
    pub(crate) fn new(
        sessions: Sessions,
        config: Config,
        auth: Arc<auth::Store>,
        limits: Limits,
        is_restart: bool,
    ) -> App {
        let metrics =
            Metrics::new(sessions.storage(), sessions.measurements(), config.per_log_metrics);
        if let Some(counter) = limits.counter() {
            metrics.add(counter);
        }
        App {
            metrics,
            sessions,
            config,
            shutdown: Shutdown::new(is_restart),
            auth,
            limits,
            started: Instant::now(),
        }
    }
}
