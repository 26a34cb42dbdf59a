//! [`Archiving`] of a build without the feature `archive`.

use std::sync::Arc;
use std::time::Duration;

use styx_engine::Catalog;
use styx_engine::archive::Depot;

use super::OpenError;
use crate::Config;

/// An archive that cannot be on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archiving;

impl Archiving {
    /// Refuses a configuration with an archive.
    pub(super) fn open(config: &Config) -> Result<Archiving, OpenError> {
        match config.archive.url.as_ref().or(config.archive.replica_of.as_ref()) {
            Some(_) => Err(OpenError::NoArchive),
            None => Ok(Archiving),
        }
    }

    pub(super) fn is_replica(&self) -> bool {
        false
    }

    pub(super) fn depot(&self) -> Option<Arc<dyn Depot>> {
        None
    }

    pub(super) fn start(&self, _: Catalog) {}

    pub(super) async fn stop(&self, _: Duration) {}
}
