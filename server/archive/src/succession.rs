//! `styx restore --adopt`: a restored log takes the place of its original in the archive.
//!
//! ```text
//! restored log: first manifest ─▶ original: this owner, higher epoch ─▶ original: deleted
//! ```
//!
//! The server that owned the original is fenced: it serves, and archives the log no more. The objects
//! that the restored log reads stay, and the collector removes the others after the time of grace.
//! Invariant: the original is marked only after the restored log has a manifest, so the archive has
//! a log to restore at every moment. Every step can be repeated.

use styx_engine::Log;
use styx_protocol::{LogId, Position};

use crate::adopt;
use crate::archiver::{self, ManifestWriter, Removal, Stop};
use crate::manifest::{Manifest, Owner};
use crate::offline;
use crate::random;
use crate::store::{Error, Kind, Store};

/// Makes `log` the successor of the log `original`, from which it was restored up to `end`. `owner`
/// is that of its data directory.
///
/// # Errors
/// The store failed, or the original has more segments than the restored log.
pub(crate) async fn succeed(
    store: &Store,
    log: &Log,
    original: LogId,
    end: Position,
    owner: &Owner,
) -> Result<(), Error> {
    let before = offline::manifest(store, original).await?;
    if let Some(before) = &before {
        check_end(before, end)?;
    }
    let claim = random::number()?;
    let opened = ManifestWriter::open(store, log, owner.clone(), claim).await;
    opened.map_err(|stop| error(log, stop))?;
    let recorded = log.clone();
    let recorded = tokio::task::spawn_blocking(move || recorded.record_archive_manifest()).await;
    let local = |why: String| Error::new(Kind::Invalid, format!("the log {}", log.name()), why);
    recorded.map_err(|e| local(e.to_string()))?.map_err(|e| local(e.to_string()))?;
    let Some(before) = before.filter(|before| before.deleted_us.is_none()) else { return Ok(()) };
    let taken = adopt::take_over(store, &before, owner).await?;
    let removal = Removal { epoch: taken.epoch, claim: taken.claim };
    let marked = archiver::mark_deleted(store, original, owner, removal).await;
    marked.map_err(|stop| error(log, stop))
}

/// Checks that nothing was archived after the restore.
fn check_end(original: &Manifest, end: Position) -> Result<(), Error> {
    let archived = original.end().unwrap_or(original.start);
    if archived <= end {
        return Ok(());
    }
    let why = format!(
        "{} has archived records up to position {archived}, and {end} was restored: stop that \
         server, and restore into another data directory",
        original.owner.name
    );
    Err(Error::new(Kind::Invalid, format!("the log {}", original.name), why))
}

fn error(log: &Log, stop: Stop) -> Error {
    let invalid = |why: String| Error::new(Kind::Invalid, format!("the log {}", log.name()), why);
    match stop {
        Stop::Store(error) => error,
        Stop::Fenced(by) => invalid(format!("another server ({by}) archives it at this moment")),
        Stop::Halted(why) => invalid(why),
    }
}
