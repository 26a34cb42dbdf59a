//! [`App`]: what every connection needs, whatever its protocol.

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
}

impl App {
    pub(crate) fn new(sessions: Sessions, config: Config) -> App {
        App {
            metrics: Metrics::new(sessions.storage()),
            sessions,
            config,
            shutdown: Shutdown::new(),
        }
    }
}
