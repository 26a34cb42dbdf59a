//! [`OnceAMinute`]: a log line for events that may happen many times a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts events, and says when to log a line about them.
#[derive(Debug, Default)]
pub(super) struct OnceAMinute(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    events: u64,
}

impl OnceAMinute {
    /// Counts an event. Returns the number of events since the last line if it is time
    /// for a line: at the first event, and then at most once a minute.
    pub(super) fn record(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        if state.last.is_some_and(|last| now.duration_since(last) < MINUTE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_of_a_minute_are_one_line() {
        let line = OnceAMinute::default();
        assert_eq!(line.record(), Some(1));
        for _ in 0..10 {
            assert_eq!(line.record(), None);
        }
        tokio::time::advance(MINUTE).await;
        assert_eq!(line.record(), Some(11));
        assert_eq!(line.record(), None);
    }
}
