//! [`StreamExecutor`]: runs the requests of an HTTP/2 connection, and gives up those
//! whose peer has stopped taking the answer.
//!
//! ```text
//! answer's body ── a piece ──▶ hyper ── as the peer's window allows ──▶ socket
//!       └── ResponseProgress: when it was handed over, and whether more is asked for
//! ```
//!
//! A peer of HTTP/2 can go on reading and answer pings while it takes nothing of
//! one answer: the socket does not stall, and nobody else would notice. Only that
//! stream is reset; others on the connection go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::{MinimumRate, Verdict};

tokio::task_local! {
    static PROGRESS: Arc<ResponseProgress>;
}

/// Why a reader is let go whose answer has a rate.
pub(super) const TOO_SLOW: &str = "its peer takes too little of what others may wait for";

/// How late a stall may be noticed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Hyper's way to start a task for each stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamExecutor {
    stall_time: Duration,
}

/// How an answer is taken.
#[derive(Debug)]
pub(super) struct ResponseProgress {
    stall_time: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that wait to be taken, and since when.
    waiting: Option<(u64, Instant)>,
    /// How fast it has to be, if it has to.
    rate: Option<MinimumRate>,
    is_too_slow: bool,
}

impl StreamExecutor {
    pub(super) fn new(stall_time: Duration) -> StreamExecutor {
        StreamExecutor { stall_time }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let stall_time = self.stall_time;
        tokio::spawn(async move {
            let progress = Arc::new(ResponseProgress::new(stall_time));
            let stalled = progress.clone();
            tokio::select! {
                _ = PROGRESS.scope(progress, stream) => {}
                // Dropped, it is reset.
                why = stalled.stalled() => tracing::debug!("a stream is reset: {why}"),
            }
        });
    }
}

impl ResponseProgress {
    fn new(stall_time: Duration) -> ResponseProgress {
        ResponseProgress { stall_time, state: Mutex::default() }
    }

    /// That of the stream whose task this is; `None` on HTTP/1.1.
    pub(super) fn of_this_task() -> Option<Arc<ResponseProgress>> {
        PROGRESS.try_with(Arc::clone).ok()
    }

    /// The answer has to be taken this fast; 0 for as it comes.
    pub(super) fn set_minimum_rate(&self, bytes_per_second_min: u64) {
        let rate = MinimumRate::new(bytes_per_second_min, self.stall_time);
        self.state().rate = (bytes_per_second_min > 0).then_some(rate);
    }

    /// So much has been handed over, and the peer is to take it.
    pub(super) fn handed_over(&self, bytes: u64) {
        self.state().waiting = Some((bytes, Instant::now()));
    }

    /// More is asked for, so the peer has taken what there was.
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

    /// Resolves, with the reason, when nothing was taken for too long, or too little.
    async fn stalled(&self) -> &'static str {
        loop {
            let now = Instant::now();
            let look_again = {
                let state = self.state();
                if state.is_too_slow {
                    tracing::info!("a stream is given up: {TOO_SLOW}");
                    return TOO_SLOW;
                }
                match state.waiting.map(|(_, since)| since + self.stall_time) {
                    Some(deadline) if deadline <= now => return "its peer does not read",
                    Some(deadline) => deadline,
                    None => now + self.stall_time,
                }
            };
            tokio::time::sleep_until(look_again.min(now + LOOK_AGAIN_AFTER)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_the_time_since_something_was_handed_over() {
        let progress = ResponseProgress::new(10 * SECOND);
        let stalls_within = |limit| tokio::time::timeout(limit, progress.stalled());
        assert!(stalls_within(100 * SECOND).await.is_err(), "nothing was there to take");
        progress.handed_over(1);
        assert!(stalls_within(9 * SECOND).await.is_err());
        progress.taken();
        assert!(stalls_within(100 * SECOND).await.is_err(), "it was taken");
        progress.handed_over(1);
        let begun = Instant::now();
        let _ = progress.stalled().await;
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_to_be_taken_fast_is_given_up_when_it_is_not() {
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
