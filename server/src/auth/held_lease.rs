//! [`HeldLease`]: the lease of an answer whose peer may not read it.
//!
//! An answer checks its lease for each part that it sends. If its peer reads nothing, the
//! answer sends nothing and checks nothing. Then the code around it ends it: on HTTP/1.1 the
//! connection, on HTTP/2 the stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::access::Lease;
use super::store::Store;

/// How long an answer whose token is no longer valid may take to end by itself.
const ENDS_BY_ITSELF_WITHIN: Duration = Duration::from_secs(2);

/// The lease of the current answer of an HTTP/1.1 connection or of an HTTP/2 stream, if the
/// answer is long.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldLease(Arc<Mutex<Option<Lease>>>);

impl HeldLease {
    /// Remembers the lease of an answer that is being sent.
    pub(crate) fn hold(&self, lease: Lease) {
        *self.lease() = Some(lease);
    }

    /// Forgets the lease, because the next request has begun, perhaps with another token.
    pub(crate) fn release(&self) {
        *self.lease() = None;
    }

    /// Resolves some seconds after the lease became invalid, if the answer has not ended by
    /// itself until then. Cancel safe; costs nothing while nothing changes.
    pub(crate) async fn must_end(&self, store: &Store) {
        let mut generations = store.generations();
        loop {
            generations.borrow_and_update();
            if self.is_invalid() {
                tokio::time::sleep(ENDS_BY_ITSELF_WITHIN).await;
                if self.is_invalid() {
                    return;
                }
            }
            if generations.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn is_invalid(&self) -> bool {
        let lease = self.lease().clone();
        lease.is_some_and(|lease| {
            lease.note_expiry();
            lease.check().is_err()
        })
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
