//! Which logs of an archive a restore takes: one of each name.
//!
//! ```text
//! A ──── 80 ── A continues?        several logs can have one name: a restored log and its ancestor,
//!         └─── B                   or two that have nothing to do with each other
//! ```
//!
//! A log is left out silently if another one with the same name has all of its archived records.
//! After a disaster that is the ancestor, and after a drill that has written nothing it is the copy.
//! Invariant: if two logs each have archived records that the other lacks, none is chosen.

use std::collections::BTreeMap;

use styx_protocol::{LogId, LogName, Position};

use crate::manifest::Manifest;
use crate::offline::{self, Tell};
use crate::status::{ArchivedLog, archived};
use crate::store::{Error, Kind, Store};

/// Which logs a restore takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wanted {
    /// One of each name, except logs that are marked as deleted.
    #[default]
    All,
    /// The log with this name, unless it is marked as deleted.
    Name(LogName),
    /// The log with this id, whatever other logs have its name.
    Id(LogId),
}

/// Logs that were not restored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// These logs have the same name, and each has records that the others lack.
    Diverged {
        /// The name.
        name: LogName,
        /// The logs, at least two, in the order of their ids.
        logs: Vec<ArchivedLog>,
    },
    /// A log cannot be restored.
    Unusable {
        /// Its name and id. `None` if its manifest cannot be read.
        log: Option<(LogName, LogId)>,
        /// The reason, with the name of the object.
        why: String,
    },
}

/// The manifests of the logs to restore, and those that cannot be restored.
///
/// # Errors
/// The store failed, or the archive has no such log.
pub(crate) async fn select(
    store: &Store,
    wanted: &Wanted,
    tell: Tell<'_>,
) -> Result<(Vec<Manifest>, Vec<LeftOut>), Error> {
    let location = store.location().to_string();
    let absent = |what: String| {
        let why = format!("the archive has no log {what}: run styx archive status");
        Error::new(Kind::Missing, location.clone(), why)
    };
    if let Wanted::Id(id) = wanted {
        let manifest = offline::manifest(store, *id).await?;
        let manifest = manifest.ok_or_else(|| absent(format!("with the id {id}")))?;
        if manifest.deleted_us.is_some() {
            let why = format!("the log {id} is marked as deleted: run styx archive undelete first");
            return Err(Error::new(Kind::Invalid, location, why));
        }
        return Ok((vec![manifest], Vec::new()));
    }
    let (mut by_name, mut left_out) = (BTreeMap::<String, Vec<Manifest>>::new(), Vec::new());
    for found in offline::manifests(store, tell).await? {
        let is_wanted = |manifest: &Manifest| match wanted {
            Wanted::Name(name) => manifest.name == *name,
            _ => true,
        };
        match found.manifest {
            Ok(manifest) if manifest.deleted_us.is_some() || !is_wanted(&manifest) => {}
            Ok(manifest) => by_name.entry(manifest.name.to_string()).or_default().push(manifest),
            // The name of its log is not known.
            Err(_) if *wanted != Wanted::All => {}
            Err(e) => left_out.push(LeftOut::Unusable { log: None, why: e.to_string() }),
        }
    }
    if let (Wanted::Name(name), true) = (wanted, by_name.is_empty()) {
        return Err(absent(name.to_string()));
    }
    let mut chosen = Vec::new();
    for logs in by_name.into_values() {
        let mut logs = without_covered(logs);
        match (logs.pop(), logs.is_empty()) {
            (Some(only), true) => chosen.push(only),
            (Some(last), false) => {
                let name = last.name.clone();
                let logs = logs.iter().chain([&last]).map(archived).collect();
                left_out.push(LeftOut::Diverged { name, logs });
            }
            (None, _) => {}
        }
    }
    Ok((chosen, left_out))
}

/// Removes logs whose records another one has. At least one remains.
fn without_covered(mut logs: Vec<Manifest>) -> Vec<Manifest> {
    // One after the other, so that of logs with the same records one remains.
    while let Some(covered) = logs.iter().position(|log| logs.iter().any(|by| is_covered(log, by)))
    {
        logs.remove(covered);
    }
    logs
}

/// Whether a log has no records that `by` lacks. Of two logs with the same records, the one that was
/// restored from the other covers it.
fn is_covered(log: &Manifest, by: &Manifest) -> bool {
    let Some(shared) = shared(log, by) else { return false };
    let has_more = end(by) > shared;
    let descends = by.lineage.fork(log.id).is_some();
    let precedes = log.lineage.fork(by.id).is_none() && by.id.0 < log.id.0;
    end(log) <= shared && (has_more || descends || precedes)
}

fn end(manifest: &Manifest) -> Position {
    manifest.end().unwrap_or(manifest.start)
}

/// The position up to which two logs are the same. `None` if neither was restored from the other,
/// and both were not restored from the same log.
fn shared(a: &Manifest, b: &Manifest) -> Option<Position> {
    let of_common = a
        .lineage
        .ancestors()
        .iter()
        .filter_map(|ancestor| b.lineage.fork(ancestor.id).map(|fork| fork.min(ancestor.fork)));
    let direct = [a.lineage.fork(b.id), b.lineage.fork(a.id)].into_iter().flatten();
    direct.chain(of_common).max()
}

#[cfg(test)]
mod tests {
    use styx_engine::archive::{Entry, Lineage};
    use styx_protocol::LogConfig;

    use super::*;
    use crate::manifest::Owner;

    /// A log with archived records up to `end`, restored from these logs: id and fork.
    fn log(id: u128, end: u64, lineage: &[(u128, u64)]) -> Manifest {
        let owner = Owner { id: 1, name: String::new() };
        let name = "a".parse().expect("a name");
        let mut manifest = Manifest::new(name, LogId(id), LogConfig::default(), 1, owner);
        for (id, fork) in lineage {
            manifest.lineage = manifest.lineage.restored(LogId(*id), Position(*fork));
        }
        manifest.entries.push(Entry {
            base: Position(0),
            end: Position(end),
            bytes: 4096,
            record_bytes: 1,
            first_timestamp_us: 1,
            last_timestamp_us: 1,
            seal_crc: 0,
            file_crc: 0,
            epoch: 1,
            home: LogId(id),
        });
        manifest
    }

    #[track_caller]
    fn check(logs: &[Manifest], remaining: &[u128]) {
        let mut logs = logs.to_vec();
        for _ in 0..logs.len() {
            logs.rotate_left(1);
            let mut ids: Vec<u128> =
                without_covered(logs.clone()).iter().map(|log| log.id.0).collect();
            ids.sort_unstable();
            assert_eq!(ids, remaining);
        }
    }

    #[test]
    fn a_restored_log_that_continues_covers_its_ancestor() {
        check(&[log(1, 80, &[]), log(2, 90, &[(1, 80)])], &[2]);
        check(&[log(1, 80, &[]), log(2, 80, &[(1, 80)])], &[2]);
        check(&[log(1, 80, &[]), log(2, 90, &[(1, 80)]), log(3, 99, &[(1, 80), (2, 90)])], &[3]);
    }

    #[test]
    fn a_copy_without_records_of_its_own_never_covers_an_original_that_continued() {
        check(&[log(1, 100, &[]), log(2, 80, &[(1, 80)])], &[1]);
        check(&[log(2, 100, &[]), log(1, 80, &[(2, 80)])], &[2]);
    }

    #[test]
    fn logs_that_both_continued_or_are_unrelated_remain() {
        check(&[log(1, 100, &[]), log(2, 90, &[(1, 80)])], &[1, 2]);
        check(&[log(1, 100, &[]), log(2, 90, &[])], &[1, 2]);
        check(&[log(2, 90, &[(1, 80)]), log(3, 90, &[(1, 70)])], &[2, 3]);
    }

    /// The lineages of three logs with the same records can say of each that another one covers it.
    #[test]
    fn one_of_several_logs_with_the_same_records_remains() {
        check(&[log(2, 80, &[(1, 80)]), log(3, 80, &[(1, 80)])], &[2]);
        let logs =
            [log(2, 80, &[(1, 80)]), log(4, 80, &[(1, 80), (2, 80)]), log(3, 80, &[(1, 80)])];
        let remaining = without_covered(logs.to_vec());
        assert_eq!(remaining.len(), 1, "{remaining:?}");
    }

    #[test]
    fn forks_of_common_ancestors_count() {
        assert_eq!(shared(&log(2, 90, &[(1, 80)]), &log(3, 90, &[(1, 70)])), Some(Position(70)));
        assert_eq!(shared(&log(2, 90, &[(1, 80)]), &log(3, 90, &[])), None);
        assert_eq!(Lineage::default(), log(1, 1, &[]).lineage);
    }
}
