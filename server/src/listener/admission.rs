//! [`Admission`]: which connections are served, and which have to leave.
//!
//! ```text
//! accept → free permit ──────────────────────────────▶ admitted, any request
//!        → none: beyond the limit, first request only
//!             health, metrics ───────────────────────▶ served, then closed
//!             another, an idle connection can close ─▶ admitted
//!             another, none is idle, or none within 1 s ▶ 503
//!        → too many beyond the limit ────────────────▶ 503 at once
//! ```
//!
//! A connection beyond the limit uses a descriptor of the reserve. Invariant: nobody
//! keeps health and metrics out, neither clients that are busy nor clients that connect
//! and send nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Role;
use super::activity::Activity;
use super::once_a_minute::OnceAMinute;
use crate::app::App;
use crate::descriptors::Shares;

/// How long a connection beyond the limit may send nothing. An admitted one that has
/// sent nothing for so long may be closed to make room.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long a request waits for the descriptor of an idle connection that was closed.
const ROOM_TIME_MAX: Duration = Duration::from_secs(1);
/// How long no idle connection is looked for after there was none.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);
/// How long a new connection waits until one beyond the limit, which was told to leave,
/// has left.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(100);

/// The connections of the listeners of one role, and their limits.
#[derive(Debug)]
pub(super) struct Admission {
    app: Arc<App>,
    role: Role,
    permits: Arc<Semaphore>,
    connections_max: usize,
    beyond_max: usize,
    state: Mutex<State>,
    /// A connection beyond the limit has left, or was admitted.
    fewer_beyond: Notify,
    refusals: OnceAMinute,
    handshake_failures: OnceAMinute,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// Admitted connections that speak HTTP.
    admitted: HashMap<u64, Arc<Occupant>>,
    /// Connections beyond the limit.
    beyond: usize,
    /// Those that have not begun a request, the oldest first.
    silent: VecDeque<(u64, Arc<Occupant>)>,
    /// Until when it is known that no connection is idle.
    none_idle_until: Option<Instant>,
}

/// What the admission knows of a connection.
#[derive(Debug)]
struct Occupant {
    activity: Arc<Activity>,
    must_leave: Notify,
}

/// A connection's place, until the connection has ended.
#[derive(Debug)]
pub(super) struct Seat {
    admission: Arc<Admission>,
    id: u64,
    occupant: Arc<Occupant>,
    /// Whether there was no permit when it was accepted.
    began_beyond: bool,
    admitted: OnceLock<Admitted>,
}

/// Counts an admitted connection until it is dropped.
#[derive(Debug)]
struct Admitted {
    /// `None` for a connection to the admin address, which is not counted.
    gauge: Option<IntGauge>,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(app: Arc<App>, role: Role, shares: Shares) -> Arc<Admission> {
        let connections_max = shares.connections.min(Semaphore::MAX_PERMITS);
        if role == Role::Main {
            app.metrics.connections_max.set(i64::try_from(connections_max).unwrap_or(i64::MAX));
        }
        Arc::new(Admission {
            app,
            role,
            permits: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            beyond_max: shares.connections_beyond,
            state: Mutex::default(),
            fewer_beyond: Notify::new(),
            refusals: OnceAMinute::default(),
            handshake_failures: OnceAMinute::default(),
        })
    }

    /// A place for a new connection; `None` if even the first request of another one
    /// cannot be read. The caller accepts no other connection meanwhile.
    pub(super) async fn seat(self: &Arc<Self>) -> Option<Arc<Seat>> {
        let left = async {
            loop {
                if let Some(seat) = self.free_seat() {
                    return seat;
                }
                self.fewer_beyond.notified().await;
            }
        };
        let seat = tokio::time::timeout(LEAVE_TIME_MAX, left).await;
        if seat.is_err() {
            self.note_refusal();
        }
        seat.ok()
    }

    fn free_seat(self: &Arc<Self>) -> Option<Arc<Seat>> {
        let permit = self.permits.clone().try_acquire_owned().ok();
        let mut state = self.state();
        if permit.is_none() {
            // The other half is for those that are about to leave.
            if state.beyond >= self.beyond_max / 2
                && let Some((_, oldest)) = state.silent.pop_front()
            {
                oldest.must_leave.notify_one();
            }
            if state.beyond >= self.beyond_max {
                return None;
            }
        }
        let id = state.next_id;
        state.next_id += 1;
        let occupant = Arc::new(Occupant { activity: Activity::new(), must_leave: Notify::new() });
        let began_beyond = permit.is_none();
        if began_beyond {
            state.beyond += 1;
            state.silent.push_back((id, occupant.clone()));
        }
        drop(state);
        let seat =
            Seat { admission: self.clone(), id, occupant, began_beyond, admitted: OnceLock::new() };
        if let Some(permit) = permit {
            seat.take(permit);
        }
        Some(Arc::new(seat))
    }

    /// Closes the connection that is idle the longest. Connections that never sent a
    /// request, for at least [`SILENCE_MAX`], come first. Returns whether there was one.
    pub(super) fn close_oldest_idle(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        if state.none_idle_until.is_some_and(|until| now < until) {
            return false;
        }
        let idle = state.admitted.iter().filter_map(|(id, occupant)| {
            let (is_kept_alive, since) = occupant.idle_since(now)?;
            Some((is_kept_alive, since, *id))
        });
        let Some((.., id)) = idle.min() else {
            state.none_idle_until = Some(now + SEARCH_PAUSE);
            return false;
        };
        if let Some(occupant) = state.admitted.remove(&id) {
            occupant.must_leave.notify_one();
        }
        if self.role == Role::Main {
            self.app.metrics.connections_closed_idle.inc();
        }
        true
    }

    /// Counts a connection that is answered 503.
    fn note_refusal(&self) {
        if self.role == Role::Main {
            self.app.metrics.connections_refused.inc();
        }
        let Some(refused) = self.refusals.record() else { return };
        if self.role == Role::Admin {
            tracing::warn!(
                refused,
                connections_max = self.connections_max,
                "connections to admin_address were refused with 503 because the largest number is \
                 open and none of them is idle"
            );
        } else {
            tracing::warn!(
                refused,
                connections_max = self.connections_max,
                "connections were refused with 503 because the largest number is open and none of \
                 them is idle; raise max_connections, and the limit of open files if it is lower"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupant {
    /// Whether it has sent a request, and since when it is idle; `None` if it is not.
    fn idle_since(&self, now: Instant) -> Option<(bool, Instant)> {
        let activity = &self.activity;
        if !activity.is_between_requests() {
            return None;
        }
        if activity.requests_begun() > 0 {
            return Some((true, activity.idle_since()));
        }
        let opened = activity.opened();
        (now.duration_since(opened) >= SILENCE_MAX).then_some((false, opened))
    }
}

impl Seat {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.occupant.activity
    }

    /// Whether the connection counts as one of `max_connections`.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.get().is_some()
    }

    /// Whether it is beyond the limit and has not begun a request.
    pub(super) fn is_silent(&self) -> bool {
        !self.is_admitted() && self.activity().requests_begun() == 0
    }

    /// Makes an idle connection leave if necessary, and takes its place. Returns whether
    /// that worked; if not, the request is to be refused.
    pub(super) async fn admit(&self) -> bool {
        let permits = &self.admission.permits;
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if self.admission.close_oldest_idle() => {
                let room = permits.clone().acquire_owned();
                tokio::time::timeout(ROOM_TIME_MAX, room).await.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        match permit {
            Some(permit) => self.take(permit),
            None => self.admission.note_refusal(),
        }
        self.is_admitted()
    }

    /// Tells the connection to leave after its current requests.
    pub(super) fn leave(&self) {
        self.occupant.must_leave.notify_one();
    }

    /// Resolves when the connection has to leave. Cancel safe.
    pub(super) async fn must_leave(&self) {
        self.occupant.must_leave.notified().await;
    }

    /// Call it when the connection is answered 503 without having sent a request.
    pub(super) fn refused(&self) {
        self.speaks();
        self.admission.note_refusal();
    }

    /// Counts a connection that ended before its first request because of TLS; returns
    /// the number of them if it is time for a line in the log.
    pub(super) fn note_handshake_failure(&self) -> Option<u64> {
        self.admission.handshake_failures.record()
    }

    /// Call it when the first request has begun: the connection is not silent any more.
    pub(super) fn speaks(&self) {
        self.admission.state().silent.retain(|(id, _)| *id != self.id);
    }

    /// Call it when the connection leaves HTTP: it is not idle between requests any more.
    pub(super) fn is_upgraded(&self) {
        self.admission.state().admitted.remove(&self.id);
    }

    fn take(&self, permit: OwnedSemaphorePermit) {
        let admission = &self.admission;
        let is_counted = admission.role == Role::Main;
        let gauge = is_counted.then(|| admission.app.metrics.connections.clone());
        gauge.iter().for_each(IntGauge::inc);
        // On HTTP/2 another request may have been faster; then this permit is returned.
        if self.admitted.set(Admitted { gauge, _permit: permit }).is_err() {
            return;
        }
        let mut state = self.admission.state();
        self.is_not_beyond(&mut state);
        state.admitted.insert(self.id, self.occupant.clone());
    }

    fn is_not_beyond(&self, state: &mut State) {
        if self.began_beyond {
            state.beyond -= 1;
            self.admission.fewer_beyond.notify_one();
            state.silent.retain(|(id, _)| *id != self.id);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        if self.is_admitted() {
            state.admitted.remove(&self.id);
        } else {
            self.is_not_beyond(&mut state);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.gauge.iter().for_each(IntGauge::dec);
    }
}
