//! `styx archive undelete`: removes the mark of a log that was deleted or truncated, so that it can
//! be restored.
//!
//! ```text
//! manifest marked as deleted ─▶ HEAD of every segment ─▶ all exist ─▶ manifest without the mark
//! ```
//!
//! The collector marks a manifest by compare-and-set before it removes the first object of a deleted
//! log. Invariant: the mark is removed only if the collector has not begun, so no object vanishes
//! after the look at it.

use futures_util::{StreamExt, stream};
use styx_engine::archive::Entry;

use crate::archiver::register;
use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, AT_ONCE, Progress, Tell};
use crate::random;
use crate::register::Replaced;
use crate::status::{ArchivedLog, describe};
use crate::store::{Error, Kind, Store};
use crate::verify::{Depth, segment_problem};
use crate::which::{Which, find};

/// Why a log was not undeleted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store failed, there is no such log, or its objects are gone. The text names the remedy.
    #[error("{0}")]
    Store(#[from] Error),
    /// Several deleted logs have the name: these.
    #[error("{} deleted logs have this name", .0.len())]
    Several(Vec<ArchivedLog>),
}

/// Removes the mark of a deleted log after a look at all of its segments. Blocks. Changes nothing but
/// its manifest.
///
/// # Errors
/// See [`Failure`]. Nothing was changed.
pub fn undelete(store: &Store, which: &Which, tell: Tell<'_>) -> Result<ArchivedLog, Failure> {
    let mut several = None;
    let undeleted = offline::run(async {
        let found = find(store, which, tell).await?;
        let is_known = !found.is_empty();
        let mut deleted: Vec<Manifest> =
            found.into_iter().filter(|manifest| manifest.deleted_us.is_some()).collect();
        // A log that is being removed is no choice if another one is left.
        if deleted.iter().any(|manifest| !manifest.is_being_removed) {
            deleted.retain(|manifest| !manifest.is_being_removed);
        }
        match &deleted[..] {
            [] => Err(none(store, which, is_known)),
            [only] => unmark(store, only.clone(), tell).await.map(Some),
            _ => {
                let mut logs = Vec::new();
                for manifest in &deleted {
                    logs.push(describe(store, manifest).await?);
                }
                several = Some(logs);
                Ok(None)
            }
        }
    })?;
    undeleted.ok_or_else(|| Failure::Several(several.unwrap_or_default()))
}

fn none(store: &Store, which: &Which, is_known: bool) -> Error {
    let why = match is_known {
        true => format!("the {which} is not deleted: restore it with styx restore"),
        false => format!(
            "the archive has no deleted {which}: run styx archive status --deleted. The objects of \
             a deleted log are removed when archive.delete_grace has passed"
        ),
    };
    Error::new(Kind::Missing, store.location().to_string(), why)
}

async fn unmark(store: &Store, manifest: Manifest, tell: Tell<'_>) -> Result<ArchivedLog, Error> {
    let refused = |why: String| {
        let what = format!("the log {} with the id {}", manifest.name, manifest.id);
        Error::new(Kind::Missing, what, why)
    };
    if manifest.is_being_removed {
        return Err(refused("styx archive collect has begun to remove its objects".to_owned()));
    }
    let entries = offline::entries(store, &manifest).await.map_err(|e| match e.kind {
        Kind::Missing | Kind::Damaged => refused(format!("a page of its segments is gone: {e}")),
        _ => e,
    })?;
    let entries: Vec<Entry> =
        entries.into_iter().filter(|entry| entry.end > manifest.start).collect();
    if entries.is_empty() {
        return Err(refused("nothing of it was archived, so there is nothing to restore".into()));
    }
    let total = entries.len() as u64;
    let mut looks = stream::iter(entries)
        .map(|entry| async move {
            (keys::segment(&entry), segment_problem(store, &entry, Depth::Descriptions).await)
        })
        .buffered(AT_ONCE);
    let (mut done, mut gone, mut first) = (0, 0, None);
    while let Some((key, problem)) = looks.next().await {
        done += 1;
        tell(Progress { what: "looking at segments", done, total });
        if let Some(problem) = problem? {
            gone += 1;
            first.get_or_insert_with(|| format!("{key}: {problem}"));
        }
    }
    if let Some(first) = first {
        return Err(refused(format!(
            "{gone} of {total} segments are gone or damaged, and it stays deleted. The first: {first}"
        )));
    }
    let register = register(store, manifest.id);
    loop {
        let Some(current) = register.read().await? else {
            return Err(refused("its manifest was removed meanwhile".to_owned()));
        };
        let mut current_manifest = crate::archiver::decode(&register, &current.bytes)?;
        if current_manifest.is_being_removed {
            return Err(refused("styx archive collect has begun to remove its objects".into()));
        }
        current_manifest.deleted_us = None;
        current_manifest.write_id = random::number()?;
        let bytes = current_manifest.encode();
        if let Replaced::Written(_) = register.replace(Some(&current.version), &bytes).await? {
            return describe(store, &current_manifest).await;
        }
    }
}
