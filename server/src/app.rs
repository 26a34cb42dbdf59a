//! [`App`]: what every connection needs, whatever its protocol.

use std::sync::Arc;

use crate::auth;
use crate::config::Config;
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
}

impl App {
    /// `is_restart` if the listening sockets stay open when the server stops.
    pub(crate) fn new(
        sessions: Sessions,
        config: Config,
        auth: Arc<auth::Store>,
        is_restart: bool,
    ) -> App {
        App {
            metrics: Metrics::new(
                sessions.storage(),
                sessions.measurements(),
                config.per_log_metrics,
            ),
            sessions,
            config,
            shutdown: Shutdown::new(is_restart),
            auth,
        }
    }
}
