//! [`Which`]: the log of an archive on which a command works.

use std::fmt;

use styx_protocol::{LogId, LogName};

use crate::manifest::Manifest;
use crate::offline::{self, Tell};
use crate::store::{Error, Store};

/// A log, by its name or by its id. Several logs of an archive can have the same name, for example
/// after a log was deleted and created again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The logs with this name.
    Name(LogName),
    /// The log with this id.
    Id(LogId),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Name(name) => write!(f, "log {name}"),
            Which::Id(id) => write!(f, "log with the id {id}"),
        }
    }
}

/// The manifests of these logs, in the order of their ids. A damaged manifest has no name, and is
/// left out if a name is wanted.
///
/// # Errors
/// The store failed, or the manifest with the id is damaged.
pub(crate) async fn find(
    store: &Store,
    which: &Which,
    tell: Tell<'_>,
) -> Result<Vec<Manifest>, Error> {
    match which {
        Which::Id(id) => Ok(offline::manifest(store, *id).await?.into_iter().collect()),
        Which::Name(name) => {
            let found = offline::manifests(store, tell).await?;
            let manifests = found.into_iter().filter_map(|log| log.manifest.ok());
            Ok(manifests.filter(|manifest| manifest.name == *name).collect())
        }
    }
}
