//! [`Streams`]: runs the requests of an HTTP/2 connection, and gives up those
//! whose peer has stopped taking the answer.
//!
//! ```text
//! answer's body ── a piece ──▶ hyper ── as the peer's window allows ──▶ socket
//!       └── Progress: when it was handed over, and whether more is asked for
//! ```
//!
//! A peer of HTTP/2 can go on reading and answer pings while it takes nothing of
//! one answer: the socket does not stall, and nobody else would notice. Only that
//! stream is reset; others on the connection go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// How late a stall may be noticed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Hyper's way to start a task for each stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    stall_time: Duration,
}

/// Since when an answer has waited to be taken.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<Instant>>);

impl Streams {
    pub(super) fn new(stall_time: Duration) -> Streams {
        Streams { stall_time }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let stall_time = self.stall_time;
        tokio::spawn(async move {
            let progress = Arc::new(Progress::default());
            let stalled = progress.clone();
            tokio::select! {
                _ = PROGRESS.scope(progress, stream) => {}
                // Dropped, it is reset.
                () = stalled.stalled(stall_time) => tracing::debug!("a stream's peer does not read"),
            }
        });
    }
}

impl Progress {
    /// That of the stream whose task this is; `None` on HTTP/1.1.
    pub(super) fn of_this_task() -> Option<Arc<Progress>> {
        PROGRESS.try_with(Arc::clone).ok()
    }

    /// Something has been handed over, and the peer is to take it.
    pub(super) fn handed_over(&self) {
        self.set(Some(Instant::now()));
    }

    /// More is asked for, so the peer has taken what there was.
    pub(super) fn taken(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Resolves when nothing was taken for so long.
    async fn stalled(&self, stall_time: Duration) {
        loop {
            let now = Instant::now();
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let look_again = match since.map(|since| since + stall_time) {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => deadline,
                None => now + stall_time.min(LOOK_AGAIN_AFTER),
            };
            tokio::time::sleep_until(look_again).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_the_time_since_something_was_handed_over() {
        let second = Duration::from_secs(1);
        let progress = Progress::default();
        let stalls_within = |limit| tokio::time::timeout(limit, progress.stalled(10 * second));
        assert!(stalls_within(100 * second).await.is_err(), "nothing was there to take");
        progress.handed_over();
        assert!(stalls_within(9 * second).await.is_err());
        progress.taken();
        assert!(stalls_within(100 * second).await.is_err(), "it was taken");
        progress.handed_over();
        let begun = Instant::now();
        progress.stalled(10 * second).await;
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
