//! [`Shutdown`]: one flag that everybody who waits can also wait for.

use tokio::sync::watch;

/// Tells long polls, event streams and connections that the server stops.
#[derive(Debug)]
pub(crate) struct Shutdown {
    begun: watch::Sender<bool>,
}

impl Shutdown {
    pub(crate) fn new() -> Shutdown {
        Shutdown { begun: watch::Sender::new(false) }
    }

    /// From now on the server stops.
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// Whether the server stops.
    pub(crate) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Resolves once the server stops. Cancel safe.
    pub(crate) async fn begun(&self) {
        let mut receiver = self.begun.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}
