//! [`Logs`]: the known logs of the archive, and those of them that are served.
//!
//! ```text
//! manifests ─ note ─▶ known ─ choose: one for each name ─▶ served
//! ```
//!
//! Invariant: a version is stored only after its manifest was applied to the served log, so a change
//! that failed is tried again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use styx_engine::Log;
use styx_protocol::{LogId, LogName, Position};

use super::schedule::{Pace, Schedule};
use crate::manifest::Manifest;
use crate::store::Version;

/// A manifest without its segments.
#[derive(Debug, Clone)]
struct Known {
    name: LogName,
    /// The logs from which it was restored, and up to where it is the same as each.
    lineage: Vec<(LogId, Position)>,
    /// The position after the last archived record.
    end: Position,
    /// The timestamp of the newest archived record; 0 if it is not known.
    newest_us: u64,
    is_deleted: bool,
    /// The version of the manifest that the served log has.
    applied: Option<Version>,
    /// When the last successful request for the manifest began.
    looked_at: Option<Instant>,
}

#[derive(Debug)]
struct Served {
    log: Log,
    /// How often the log was opened by name when it was looked at last.
    opened: u64,
}

#[derive(Debug)]
struct State {
    known: HashMap<LogId, Known>,
    names: HashMap<LogName, Vec<LogId>>,
    served: HashMap<LogName, Served>,
    /// Logs whose manifest is damaged.
    unreadable: HashSet<LogId>,
    /// The served log and another one with its name, of which a warning was written.
    conflicts: HashMap<LogName, (LogId, LogId)>,
    locks: HashMap<LogName, Arc<tokio::sync::Mutex<()>>>,
    schedule: Schedule,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Logs {
    started: Instant,
    state: Mutex<State>,
}

impl Logs {
    pub(super) fn new(refresh: Duration) -> Logs {
        Logs {
            started: Instant::now(),
            state: Mutex::new(State {
                known: HashMap::new(),
                names: HashMap::new(),
                served: HashMap::new(),
                unreadable: HashSet::new(),
                conflicts: HashMap::new(),
                locks: HashMap::new(),
                schedule: Schedule::new(refresh),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of a name, held from the request for a manifest to the change of the catalog.
    pub(super) fn lock(&self, name: &LogName) -> Arc<tokio::sync::Mutex<()>> {
        self.state().locks.entry(name.clone()).or_default().clone()
    }

    /// Forgets the locks of names that no log has.
    pub(super) fn forget_locks(&self) {
        let State { names, served, locks, .. } = &mut *self.state();
        locks.retain(|name, lock| {
            Arc::strong_count(lock) > 1 || names.contains_key(name) || served.contains_key(name)
        });
    }

    /// Remembers a manifest. Its log is looked at again.
    pub(super) fn note(&self, manifest: &Manifest) {
        let now = self.started.elapsed();
        let State { known, names, unreadable, schedule, .. } = &mut *self.state();
        let old = known.remove(&manifest.id);
        if let Some(old) = &old {
            remove_name(names, &old.name, manifest.id);
        }
        names.entry(manifest.name.clone()).or_default().push(manifest.id);
        unreadable.remove(&manifest.id);
        schedule.add(manifest.id, now);
        let noted = Known {
            name: manifest.name.clone(),
            lineage: (manifest.lineage.ancestors().iter())
                .map(|ancestor| (ancestor.id, ancestor.fork))
                .collect(),
            end: manifest.end().unwrap_or(manifest.start),
            newest_us: manifest.entries.last().map_or(0, |entry| entry.last_timestamp_us),
            is_deleted: manifest.deleted_us.is_some(),
            applied: old.as_ref().and_then(|old| old.applied.clone()),
            looked_at: old.and_then(|old| old.looked_at),
        };
        known.insert(manifest.id, noted);
    }

    /// The manifest of a log does not exist any more.
    pub(super) fn forget(&self, id: LogId) {
        let State { known, names, schedule, unreadable, .. } = &mut *self.state();
        if let Some(old) = known.remove(&id) {
            remove_name(names, &old.name, id);
        }
        unreadable.remove(&id);
        schedule.remove(id);
    }

    /// The manifest of a log is damaged. Returns whether that is news.
    pub(super) fn note_unreadable(&self, id: LogId) -> bool {
        self.state().unreadable.insert(id)
    }

    pub(super) fn is_unreadable(&self, id: LogId) -> bool {
        self.state().unreadable.contains(&id)
    }

    pub(super) fn name(&self, id: LogId) -> Option<LogName> {
        self.state().known.get(&id).map(|known| known.name.clone())
    }

    /// The version of the manifest that the served log has.
    pub(super) fn applied(&self, id: LogId) -> Option<Version> {
        self.state().known.get(&id)?.applied.clone()
    }

    pub(super) fn set_applied(&self, id: LogId, version: Option<Version>) {
        if let Some(known) = self.state().known.get_mut(&id) {
            known.applied = version;
        }
    }

    /// Whether a successful request for the manifest began at this time or later.
    pub(super) fn was_looked_at_since(&self, id: LogId, since: Instant) -> bool {
        let state = self.state();
        state.known.get(&id).and_then(|known| known.looked_at).is_some_and(|at| at >= since)
    }

    pub(super) fn set_looked_at(&self, id: LogId, begun: Instant) {
        if let Some(known) = self.state().known.get_mut(&id) {
            known.looked_at = Some(begun);
        }
    }

    /// The log to serve under a name. Warns if unrelated logs have the name.
    pub(super) fn choose(&self, name: &LogName) -> Option<LogId> {
        let State { known, names, served, conflicts, .. } = &mut *self.state();
        let served = served.get(name).map(|served| served.log.id());
        let ids = names.get(name).map(Vec::as_slice).unwrap_or_default();
        let with_known = ids.iter().filter_map(|id| Some((*id, known.get(id)?)));
        let (chosen, other) = choose(with_known, served)?;
        let Some(other) = other else { return Some(chosen) };
        if conflicts.insert(name.clone(), (chosen, other)) != Some((chosen, other)) {
            tracing::warn!(
                log = %name, served = %chosen, %other,
                "the archive has several logs with this name and different histories: the one with the newest record is served; delete the other one on its server"
            );
        }
        Some(chosen)
    }

    /// The served log with this name.
    pub(super) fn served(&self, name: &LogName) -> Option<Log> {
        self.state().served.get(name).map(|served| served.log.clone())
    }

    pub(super) fn set_served(&self, log: Log) {
        let opened = log.activity().opened;
        self.state().served.insert(log.name().clone(), Served { log, opened });
    }

    pub(super) fn remove_served(&self, name: &LogName) {
        let removed = self.state().served.remove(name);
        // The log may be dropped, which takes time.
        drop(removed);
    }

    /// The served logs that have this archived segment.
    pub(super) fn served_with(&self, has: impl Fn(&Log) -> bool) -> Vec<LogId> {
        let state = self.state();
        let served = state.served.values().filter(|served| has(&served.log));
        served.map(|served| served.log.id()).collect()
    }

    pub(super) fn served_count(&self) -> u64 {
        self.state().served.len() as u64
    }

    /// Those of the ids of which nothing is known.
    pub(super) fn unknown(&self, ids: &[LogId]) -> Vec<LogId> {
        let state = self.state();
        ids.iter().filter(|id| !state.known.contains_key(id)).copied().collect()
    }

    /// The known ids that are not among these.
    pub(super) fn others_than(&self, ids: &HashSet<LogId>) -> Vec<LogId> {
        self.state().known.keys().filter(|id| !ids.contains(id)).copied().collect()
    }

    /// The names whose log was not brought up to date since the start, and those that are served but
    /// have no log in the archive.
    pub(super) fn unsettled(&self) -> Vec<LogName> {
        let state = self.state();
        let is_settled = |name: &LogName, ids: &[LogId]| {
            let with_known = ids.iter().filter_map(|id| Some((*id, state.known.get(id)?)));
            let served = state.served.get(name).map(|served| served.log.id());
            let chosen = choose(with_known, served).map(|(id, _)| id);
            let is_applied = |id| state.known.get(&id).is_some_and(|known| known.applied.is_some());
            chosen == served && chosen.is_none_or(is_applied)
        };
        let unsettled = state.names.iter().filter(|(name, ids)| !is_settled(name, ids));
        let gone = state.served.keys().filter(|name| !state.names.contains_key(*name));
        unsettled.map(|(name, _)| name).chain(gone).cloned().collect()
    }

    /// A log whose manifest is due.
    pub(super) fn take_due(&self) -> Option<LogId> {
        let now = self.started.elapsed();
        self.state().schedule.take(now)
    }

    /// How long no manifest is due. `None` if there is no log.
    pub(super) fn until_due(&self) -> Option<Duration> {
        let next = self.state().schedule.next()?;
        Some(next.saturating_sub(self.started.elapsed()))
    }

    /// The look at a log has ended: whether it has changed, or failed.
    pub(super) fn done(&self, id: LogId, changed: Result<bool, ()>) {
        let now = self.started.elapsed();
        let mut state = self.state();
        let State { known, served, schedule, .. } = &mut *state;
        let name = known.get(&id).map(|known| &known.name);
        let served = name.and_then(|name| served.get_mut(name));
        let served = served.filter(|served| served.log.id() == id);
        let is_used = served.map(Served::is_used);
        let pace = match (changed, is_used) {
            (Err(()), _) => Pace::Failed,
            (Ok(_), None) => Pace::Unserved,
            (Ok(true), _) | (_, Some(true)) => Pace::Busy,
            (Ok(false), Some(false)) => Pace::Quiet,
        };
        schedule.done(id, now, pace);
    }

    /// Looks soon at the logs that were read since the last look.
    pub(super) fn hurry_used(&self) {
        let now = self.started.elapsed();
        let State { served, schedule, .. } = &mut *self.state();
        for served in served.values_mut() {
            if served.is_used() {
                schedule.hurry(served.log.id(), now);
            }
        }
    }

    /// Looks soon at a log.
    pub(super) fn hurry(&self, id: LogId) {
        let now = self.started.elapsed();
        self.state().schedule.hurry(id, now);
    }
}

impl Served {
    /// Whether it is followed, or was opened since the last call.
    fn is_used(&mut self) -> bool {
        let activity = self.log.activity();
        let before = std::mem::replace(&mut self.opened, activity.opened);
        activity.has_followers || activity.opened != before
    }
}

fn remove_name(names: &mut HashMap<LogName, Vec<LogId>>, name: &LogName, id: LogId) {
    if let Some(ids) = names.get_mut(name) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            names.remove(name);
        }
    }
}

impl Known {
    fn fork(&self, ancestor: LogId) -> Option<Position> {
        self.lineage.iter().find(|(id, _)| *id == ancestor).map(|(_, fork)| *fork)
    }
}

/// Of the logs with one name that were not deleted: the one that has all records of the others. If
/// none has, the one with the newest record, and another one that has other records.
fn choose<'a>(
    logs: impl Iterator<Item = (LogId, &'a Known)>,
    served: Option<LogId>,
) -> Option<(LogId, Option<LogId>)> {
    let logs: Vec<_> = logs.filter(|(_, known)| !known.is_deleted).collect();
    let is_left = |log: &&(LogId, &Known)| !logs.iter().any(|by| is_covered(log, by, served));
    let mut left: Vec<_> = logs.iter().filter(is_left).collect();
    if left.is_empty() {
        // Only forged lineages are circular.
        left = logs.iter().collect();
    }
    left.sort_by_key(|(id, known)| std::cmp::Reverse((known.newest_us, id.0)));
    let mut left = left.into_iter().map(|(id, _)| *id);
    Some((left.next()?, left.next()))
}

/// Whether a log has no records that `by` lacks. Of two logs with the same records, the served one
/// stays, so that the trial of a restore changes nothing; otherwise the restored one is taken.
fn is_covered(log: &(LogId, &Known), by: &(LogId, &Known), served: Option<LogId>) -> bool {
    let (by_descends, fork) = match (by.1.fork(log.0), log.1.fork(by.0)) {
        (Some(fork), _) => (true, fork),
        (None, Some(fork)) => (false, fork),
        (None, None) => return false,
    };
    let by_is_preferred = match served {
        Some(id) if id == by.0 => true,
        Some(id) if id == log.0 => false,
        _ => by_descends,
    };
    log.1.end <= fork && (by.1.end > fork || by_is_preferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with records up to `end`, the newest of which has the time `end` too. Its ancestors
    /// are ids with forks.
    fn known(lineage: &[(u128, u64)], end: u64) -> Known {
        Known {
            name: "log".parse().expect("a name"),
            lineage: lineage.iter().map(|(id, fork)| (LogId(*id), Position(*fork))).collect(),
            end: Position(end),
            newest_us: end,
            is_deleted: false,
            applied: None,
            looked_at: None,
        }
    }

    #[track_caller]
    fn check(served: Option<u128>, logs: &[(u128, Known)], chosen: Option<(u128, Option<u128>)>) {
        let logs: Vec<_> = logs.iter().map(|(id, known)| (LogId(*id), known)).collect();
        let expected = chosen.map(|(id, other)| (LogId(id), other.map(LogId)));
        let served = served.map(LogId);
        assert_eq!(choose(logs.iter().copied(), served), expected);
        let reversed = logs.iter().rev().copied();
        assert_eq!(choose(reversed, served), expected, "the order has no meaning");
    }

    #[test]
    fn log_that_continues_another_is_chosen() {
        check(None, &[], None);
        check(None, &[(1, known(&[], 50))], Some((1, None)));
        for served in [None, Some(1), Some(2)] {
            let continued = [(1, known(&[], 50)), (2, known(&[(1, 50)], 60))];
            check(served, &continued, Some((2, None)));
            // The copy of a trial, which was not written, while the original continues.
            let trial = [(1, known(&[], 60)), (2, known(&[(1, 50)], 50))];
            check(served, &trial, Some((1, None)));
        }
        let chain =
            [(1, known(&[], 50)), (2, known(&[(1, 50)], 60)), (3, known(&[(1, 50), (2, 60)], 60))];
        check(None, &chain, Some((3, None)));
    }

    #[test]
    fn of_a_log_and_its_equal_copy_the_served_one_stays() {
        let equal = [(1, known(&[], 50)), (2, known(&[(1, 50)], 50))];
        check(None, &equal, Some((2, None)));
        check(Some(1), &equal, Some((1, None)));
        check(Some(2), &equal, Some((2, None)));
    }

    #[test]
    fn of_logs_with_different_records_the_one_with_the_newest_is_chosen_and_the_other_named() {
        check(None, &[(1, known(&[], 9)), (2, known(&[], 5))], Some((1, Some(2))));
        check(Some(2), &[(1, known(&[], 9)), (2, known(&[], 5))], Some((1, Some(2))));
        check(None, &[(1, known(&[], 5)), (2, known(&[], 5))], Some((2, Some(1))));
        let diverged = [(1, known(&[], 60)), (2, known(&[(1, 50)], 70))];
        check(None, &diverged, Some((2, Some(1))));
        let siblings = [(1, known(&[], 5)), (2, known(&[(1, 5)], 8)), (3, known(&[(1, 5)], 9))];
        check(None, &siblings, Some((3, Some(2))));
        let circular = [(1, known(&[(2, 9)], 9)), (2, known(&[(1, 9)], 9))];
        check(None, &circular, Some((2, Some(1))));
    }

    #[test]
    fn deleted_log_is_not_chosen() {
        let deleted = Known { is_deleted: true, ..known(&[(1, 5)], 9) };
        check(None, &[(2, deleted.clone())], None);
        check(None, &[(1, known(&[], 5)), (2, deleted)], Some((1, None)));
    }
}
