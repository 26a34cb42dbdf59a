//! [`Shutdown`]: a flag that every waiting task can wait for too.

use tokio::sync::watch;

/// Tells long polls, event streams and connections that the server is stopping.
#[derive(Debug)]
pub(crate) struct Shutdown {
    begun: watch::Sender<bool>,
}

impl Shutdown {
    pub(crate) fn new() -> Shutdown {
        Shutdown { begun: watch::Sender::new(false) }
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
}
