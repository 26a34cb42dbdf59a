//! [`StreamExecutor`]: runs the requests of an HTTP/2 connection, and resets those
//! whose peer does not read the answer.
//!
//! ```text
//! answer's body ── a chunk ──▶ hyper ── as the peer's window allows ──▶ socket
//!       └── ResponseProgress: when it was handed over, and whether hyper wants more
//! ```
//!
//! An HTTP/2 peer can answer pings and read other streams while it reads nothing of
//! one answer. Then the socket does not stall, and nothing else would notice. Only
//! that stream is reset; others on the connection continue. The same is true of an
//! unread answer whose token is no longer valid.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::{HeldLease, Store};
use crate::peer::{MinimumRate, Verdict};

tokio::task_local! {
    static PROGRESS: Arc<ResponseProgress>;
}

/// Why an answer with a minimum rate is dropped.
pub(super) const TOO_SLOW: &str = "its peer takes too little of an answer with a minimum rate";

/// How much too late a stall may be noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Starts a task for each stream, for hyper.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor {
    stall_time: Duration,
    auth: Arc<Store>,
}

/// How fast the peer reads an answer.
#[derive(Debug)]
pub(super) struct ResponseProgress {
    stall_time: Duration,
    state: Mutex<State>,
    /// The right to continue the answer.
    held_lease: HeldLease,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that the peer has not read yet, and since when.
    waiting: Option<(u64, Instant)>,
    /// The minimum rate, if there is one.
    rate: Option<MinimumRate>,
    is_too_slow: bool,
}

impl StreamExecutor {
    pub(super) fn new(stall_time: Duration, auth: &Arc<Store>) -> StreamExecutor {
        StreamExecutor { stall_time, auth: auth.clone() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let (stall_time, auth) = (self.stall_time, self.auth.clone());
        tokio::spawn(async move {
            let progress = Arc::new(ResponseProgress::new(stall_time));
            let stalled = progress.clone();
            tokio::select! {
                _ = PROGRESS.scope(progress, stream) => {}
                // Dropping the future resets the stream.
                why = stalled.stalled() => tracing::debug!("an HTTP/2 stream was reset: {why}"),
                () = stalled.held_lease.must_end(&auth) => {
                    tracing::debug!("an HTTP/2 stream was reset: its token is no longer valid");
                }
            }
        });
    }
}

impl ResponseProgress {
    fn new(stall_time: Duration) -> ResponseProgress {
        ResponseProgress { stall_time, state: Mutex::default(), held_lease: HeldLease::default() }
    }

    /// The progress of the current task's stream; `None` on HTTP/1.1.
    pub(super) fn of_this_task() -> Option<Arc<ResponseProgress>> {
        PROGRESS.try_with(Arc::clone).ok()
    }

    /// Where the answer keeps its lease.
    pub(super) fn held_lease(&self) -> HeldLease {
        self.held_lease.clone()
    }

    /// Sets the answer's minimum rate; 0 for none.
    pub(super) fn set_minimum_rate(&self, bytes_per_second_min: u64) {
        let rate = MinimumRate::new(bytes_per_second_min, self.stall_time);
        self.state().rate = (bytes_per_second_min > 0).then_some(rate);
    }

    /// This many bytes were handed over for the peer to read.
    pub(super) fn handed_over(&self, bytes: u64) {
        self.state().waiting = Some((bytes, Instant::now()));
    }

    /// Hyper wants more, so the peer has read what was handed over.
    pub(super) fn taken(&self) {
        let state = &mut *self.state();
        let Some((bytes, since)) = state.waiting.take() else { return };
        if let Some(rate) = &mut state.rate {
            state.is_too_slow |= rate.record(bytes, since.elapsed()) == Some(Verdict::TooSlow);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves with the reason when the peer has read nothing for too long, or too
    /// little.
    async fn stalled(&self) -> &'static str {
        loop {
            let now = Instant::now();
            let check_again_at = {
                let state = self.state();
                if state.is_too_slow {
                    tracing::info!("an HTTP/2 stream was reset: {TOO_SLOW}");
                    return TOO_SLOW;
                }
                match state.waiting.map(|(_, since)| since + self.stall_time) {
                    Some(deadline) if deadline <= now => return "its peer does not read",
                    Some(deadline) => deadline,
                    None => now + self.stall_time,
                }
            };
            tokio::time::sleep_until(check_again_at.min(now + CHECK_INTERVAL)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn stall_time_counts_from_the_last_unread_bytes() {
        let progress = ResponseProgress::new(10 * SECOND);
        let stalls_within = |limit| tokio::time::timeout(limit, progress.stalled());
        assert!(stalls_within(100 * SECOND).await.is_err(), "there was nothing to read");
        progress.handed_over(1);
        assert!(stalls_within(9 * SECOND).await.is_err());
        progress.taken();
        assert!(stalls_within(100 * SECOND).await.is_err(), "it was read");
        progress.handed_over(1);
        let begun = Instant::now();
        let _ = progress.stalled().await;
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_below_its_minimum_rate_is_reset() {
        for (bytes, expected) in [(100, None), (99, Some(TOO_SLOW))] {
            let progress = ResponseProgress::new(10 * SECOND);
            progress.set_minimum_rate(10);
            for piece in [bytes / 2, bytes - bytes / 2] {
                progress.handed_over(piece);
                tokio::time::advance(5 * SECOND).await;
                progress.taken();
            }
            let stalled = tokio::time::timeout(100 * SECOND, progress.stalled()).await;
            assert_eq!(stalled.ok(), expected, "{bytes}");
        }
    }
}
