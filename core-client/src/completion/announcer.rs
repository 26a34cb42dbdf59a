//! [`Announcer`]: how a completion queue says that it has something to drain.
//!
//! ```text
//! push ─ under the queue's lock ─▶ raise    a descriptor; or threads in `wait`
//!      └ after it ───────────────▶ call     the host's notifier
//! ```

use std::fmt;
use std::sync::Condvar;

#[cfg(unix)]
use super::Signal;
use crate::process::ForgetInChild;

/// A function of the host.
pub(super) type Notifier = Box<dyn Fn() + Send + Sync>;

/// See the module.
pub(super) enum Announcer {
    /// A descriptor, readable while there is something to drain.
    #[cfg(unix)]
    Descriptor(Signal),
    /// A function that is called when there is something to drain again.
    Notifier {
        /// Its drop is code of the host, which may not expect to run in a forked child.
        notifier: ForgetInChild<Notifier>,
        /// Notified under the queue's lock, for threads in `wait`.
        filled: Condvar,
    },
}

impl Announcer {
    /// The queue is no longer empty. Called under its lock; never waits.
    pub(super) fn raise(&self) {
        match self {
            #[cfg(unix)]
            Announcer::Descriptor(signal) => signal.raise(),
            Announcer::Notifier { filled, .. } => filled.notify_all(),
        }
    }

    /// The queue is empty. Called under its lock; never waits.
    pub(super) fn lower(&self) {
        match self {
            #[cfg(unix)]
            Announcer::Descriptor(signal) => signal.lower(),
            Announcer::Notifier { .. } => {}
        }
    }

    /// Calls the notifier, if there is one. Called after [`raise`](Self::raise), without
    /// any lock.
    pub(super) fn call(&self) {
        match self {
            #[cfg(unix)]
            Announcer::Descriptor(_) => {}
            Announcer::Notifier { notifier, .. } => notifier(),
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(unix)]
            Announcer::Descriptor(signal) => signal.fmt(f),
            Announcer::Notifier { .. } => f.write_str("Notifier"),
        }
    }
}
