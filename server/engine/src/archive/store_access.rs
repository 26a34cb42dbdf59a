//! [`StoreAccess`]: the depot of a catalog, and how long work may wait for it.

use std::sync::Arc;
use std::time::Duration;

use super::Depot;
use super::depot::NoDepot;

/// See the module. A catalog without a depot has one that returns errors.
#[derive(Debug, Clone)]
pub(crate) struct StoreAccess {
    pub(crate) depot: Arc<dyn Depot>,
    pub(crate) is_configured: bool,
    /// How long a thread waits for the store without any progress.
    pub(crate) wait_max: Duration,
}

impl StoreAccess {
    pub(crate) fn new(depot: Option<Arc<dyn Depot>>, wait_max: Duration) -> StoreAccess {
        let is_configured = depot.is_some();
        StoreAccess { depot: depot.unwrap_or_else(|| Arc::new(NoDepot)), is_configured, wait_max }
    }
}
