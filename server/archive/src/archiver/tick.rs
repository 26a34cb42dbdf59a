//! The dispatcher, which starts a task for each log with news, and the clock, which ends old
//! segments, evicts old files, and scrubs and collects the store once a week.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::state::News;
use super::{collection, log_work, scrub};
use crate::random;

/// The longest time between two looks at the ages of all logs.
const LONGEST: Duration = Duration::from_secs(60);

/// The time between two scrubs, and between two collections.
const PERIOD: Duration = Duration::from_secs(7 * 24 * 3600);

/// A server that has just started has more important work.
const FIRST_MIN: Duration = Duration::from_secs(3600);

/// The time from the start to the first scrub or collection: random, so that many servers do not
/// begin at the same moment, and so that a server that restarts each day gets its turn too.
fn first() -> Duration {
    let random = random::number().unwrap_or_default() % PERIOD.as_secs() as u128;
    Duration::from_secs(u64::try_from(random).unwrap_or_default()).max(FIRST_MIN)
}

/// Runs until the runtime ends.
pub(super) async fn run(inner: Arc<Inner>) {
    inner.handle.spawn_blocking({
        let inner = inner.clone();
        move || tell_earlier_removals(&inner)
    });
    let period = (inner.settings.max_lag / 10).clamp(Duration::from_secs(1), LONGEST);
    let mut clock = tokio::time::interval(period);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let started = tokio::time::Instant::now();
    let (mut next_scrub, mut next_collection) = (started + first(), started + first());
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next_scrub) => {
                next_scrub += PERIOD;
                inner.handle.clone().spawn(scrub_all(inner.clone()));
            }
            () = tokio::time::sleep_until(next_collection) => {
                next_collection += PERIOD;
                inner.handle.clone().spawn(collect_own(inner.clone()));
            }
            _ = clock.tick() => {
                inner.begin_waiting();
                let inner = inner.clone();
                // A panic would be reported by the engine's tests; the next tick tries again.
                let _ = tokio::task::spawn_blocking(move || look_at_ages(&inner)).await;
            }
            () = inner.logs.wake.notified() => inner.begin_waiting(),
        }
    }
}

async fn scrub_all(inner: Arc<Inner>) {
    match scrub::run(&inner).await {
        Ok(done) => tracing::info!(
            "the objects of {} archived segments were looked at: {} uploaded again, {} lost",
            done.segments,
            done.healed,
            done.problems.len()
        ),
        Err(e) => tracing::warn!("the archive could not be scrubbed: {e}"),
    }
}

async fn collect_own(inner: Arc<Inner>) {
    if inner.settings.collect_grace.is_none() {
        return;
    }
    match collection::run(&inner).await {
        Ok(done) => {
            let total = done.total();
            tracing::info!(
                garbage = done.garbage.objects,
                orphans = done.orphans.objects,
                deleted_logs = done.logs,
                waiting = done.waiting,
                "{} superfluous objects with {} bytes were removed from the archive",
                total.objects,
                total.bytes
            );
            for problem in &done.problems {
                tracing::warn!("the collection left a log of the archive alone: {problem}");
            }
        }
        Err(e) => tracing::warn!("the archive could not be collected: {e}"),
    }
}

impl Inner {
    /// Starts a task for each log that has news and no task.
    pub(super) fn begin_waiting(self: &Arc<Inner>) {
        if self.catalog().is_none() {
            return;
        }
        for key in self.logs.begin() {
            self.handle.spawn(log_work::run(self.clone(), key));
        }
    }
}

/// Logs that an earlier process has removed without marking their manifests.
fn tell_earlier_removals(inner: &Inner) {
    let earlier = inner.removals.earlier();
    let Some(catalog) = inner.catalog().filter(|_| !earlier.is_empty()) else { return };
    catalog.wait_until_open();
    for (key, removal) in earlier {
        match catalog.log(&key.name) {
            // The crash came before the removal.
            Ok(log) if log.id() == key.id => inner.removals.end(&key, removal),
            Ok(_) | Err(styx_engine::Error::LogNotFound { .. }) => {
                inner.logs.tell(&key.name, key.id, News::Removed);
            }
            // It may be the log. The next start looks again.
            Err(_) => {}
        }
    }
}

/// Ends segments with records older than the lag, and evicts segments beyond the local limits.
fn look_at_ages(inner: &Inner) {
    let Some(catalog) = inner.catalog() else { return };
    let limits = inner.local_limits();
    let evicts = limits.bytes_max.is_some() || limits.age_max.is_some();
    for log in catalog.logs() {
        if let Err(e) = log.end_segment_older_than(inner.settings.max_lag) {
            tracing::debug!(log = %log.name(), "cannot end the newest segment: {e}");
        }
        if evicts && let Err(e) = log.evict(&limits) {
            tracing::warn!(log = %log.name(), "cannot evict archived segments: {e}");
        }
    }
}
