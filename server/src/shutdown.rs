//! [`Shutdown`]: a flag that every waiting task can wait for too.

use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// How long a new connection may take to send its first request although the server is stopping,
/// if its socket was passed by systemd: its peer connects to a server that restarts.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);

/// Tells long polls, event streams and connections that the server is stopping.
#[derive(Debug)]
pub(crate) struct Shutdown {
    begun: watch::Sender<bool>,
    /// Whether systemd keeps the listening sockets open.
    is_restart: bool,
}

impl Shutdown {
    /// `is_restart` if the listening sockets stay open when the server stops.
    pub(crate) fn new(is_restart: bool) -> Shutdown {
        Shutdown { begun: watch::Sender::new(false), is_restart }
    }

    /// Starts the shutdown.
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Whether the server is stopping.
    pub(crate) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Resolves when the server starts to stop. Cancel safe.
    pub(crate) async fn begun(&self) {
        let mut receiver = self.begun.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|begun| *begun).await;
    }

    /// Resolves when a connection that was opened then and has sent nothing has to end. Cancel
    /// safe.
    pub(crate) async fn ends_silent(&self, opened: Instant) {
        self.begun().await;
        if self.is_restart {
            tokio::time::sleep_until(opened + FIRST_REQUEST_TIME).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_left(is_restart: bool, age: Duration) -> Duration {
        let (shutdown, opened) = (Shutdown::new(is_restart), Instant::now());
        shutdown.begin();
        tokio::time::advance(age).await;
        let begun = Instant::now();
        shutdown.ends_silent(opened).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_new_connections_of_a_restart_may_still_send_a_request() {
        let young = FIRST_REQUEST_TIME / 4;
        assert_eq!(time_left(false, young).await, Duration::ZERO);
        assert_eq!(time_left(true, FIRST_REQUEST_TIME * 2).await, Duration::ZERO);
        assert!(time_left(true, young).await >= FIRST_REQUEST_TIME - young);
    }
}
