//! [`StorageHealth`]: whether the data directory's storage can keep the guarantee
//! of an ack, probed once when the server starts.

use std::path::{Path, PathBuf};

use styx_engine::storage::probe::{self, Effort, Weakness};
use styx_engine::storage::{DiskSpace, disk_space};

/// What the probe found at the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct StorageHealth {
    weak: Vec<&'static str>,
    /// Median seconds of a few small writes with their syncs; `None` if they failed.
    pub(crate) sync_seconds: Option<f64>,
    /// The size of the file system; `None` if it does not tell.
    pub(crate) space: Option<DiskSpace>,
}

impl StorageHealth {
    /// Probes the storage and logs warnings; blocks for about 20 ms.
    pub(super) fn probe(directory: &Path) -> StorageHealth {
        let path = directory.display();
        let report = match probe::inspect(directory, Effort::Quick) {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!("cannot check the storage of {path}: {error}");
                return StorageHealth::default();
            }
        };
        for weakness in &report.weaknesses {
            let reason = weakness.reason();
            tracing::warn!(
                reason,
                "weak storage under {path}: {weakness}; run `styx serve --check-storage` for details"
            );
        }
        if let Err(error) = &report.syncs {
            tracing::warn!("cannot measure how fast the storage of {path} syncs: {error}");
        }
        StorageHealth {
            weak: report.weaknesses.iter().map(Weakness::reason).collect(),
            space: space(directory),
            sync_seconds: report.syncs.ok().map(|syncs| syncs.median().as_secs_f64()),
        }
    }

    /// Every reason why storage can be weak, and whether it applies here.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&'static str, bool)> {
        Weakness::REASONS.iter().map(|reason| (*reason, self.weak.contains(reason)))
    }
}

/// Asks the file system of a directory for its size, on a blocking thread.
pub(crate) async fn space_of(directory: PathBuf) -> Option<DiskSpace> {
    tokio::task::spawn_blocking(move || space(&directory)).await.ok().flatten()
}

fn space(directory: &Path) -> Option<DiskSpace> {
    disk_space(directory)
        .inspect_err(|error| {
            let path = directory.display();
            tracing::debug!(%path, "cannot read the size of the file system: {error}");
        })
        .ok()
}
