//! [`StorageHealth`]: whether the data directory's storage can keep what an ack
//! promises, looked at once when the server starts.

use std::path::Path;

use styx_engine::storage::probe::{self, Effort, Weakness};

/// What was found at the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct StorageHealth {
    weak: Vec<&'static str>,
    /// Seconds of a small write and its sync, the median of a few; `None` when
    /// they failed.
    pub(crate) sync_seconds: Option<f64>,
}

impl StorageHealth {
    /// Looks, and warns of what it finds; blocks for some 20 ms.
    pub(super) fn probe(directory: &Path) -> StorageHealth {
        let path = directory.display();
        let report = match probe::look(directory, Effort::Quick) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!("the storage of {path} cannot be looked at: {error}");
                return StorageHealth::default();
            }
        };
        for weakness in &report.weaknesses {
            let reason = weakness.reason();
            tracing::warn!(
                reason,
                "weak storage under {path}: {weakness} (`styx serve --check-storage` says more)"
            );
        }
        if let Err(error) = &report.syncs {
            tracing::warn!("how fast the storage of {path} syncs cannot be measured: {error}");
        }
        StorageHealth {
            weak: report.weaknesses.iter().map(Weakness::reason).collect(),
            sync_seconds: report.syncs.ok().map(|syncs| syncs.median().as_secs_f64()),
        }
    }

    /// Every reason why storage can be weak, and whether this one is.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&'static str, bool)> {
        Weakness::REASONS.iter().map(|reason| (*reason, self.weak.contains(reason)))
    }
}
