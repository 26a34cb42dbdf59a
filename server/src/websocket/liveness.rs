//! [`Liveness`]: when a silent peer has to be asked whether it is there, and when
//! it is to be looked at whether it still is.
//!
//! ```text
//! heard ── half the time-out ──▶ ping ── half ──▶ look ── a sixth ──▶ look ── …
//! ```
//!
//! A sign of life is any byte that comes, and that the system takes bytes again
//! after it took none: the peer has read. What a look means is for the
//! [`Line`](super::line::Line) to say, which knows what the peer has yet to read.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(super) struct Liveness {
    timeout: Duration,
    heard: Instant,
    /// What is next, and how long after the last sign of life.
    next: (Due, Duration),
    alarm: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the peer; said once.
    Ping,
    /// Look whether the peer is there, though it says nothing.
    Look,
}

impl Liveness {
    pub(super) fn new(timeout: Duration) -> Liveness {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + timeout / 2));
        Liveness { timeout, heard: now, next: (Due::Ping, timeout / 2), alarm }
    }

    /// There was a sign of life, or this side was not listening until now.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.next = (Due::Ping, self.timeout / 2);
    }

    /// Whether there was no sign of life for the whole time-out.
    pub(super) fn is_over(&self) -> bool {
        self.heard.elapsed() >= self.timeout
    }

    /// Resolves when something is due. Cancel safe, and cheap: the timer is
    /// moved only when it has fired, or fires too late.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            let (due, after) = self.next;
            let at = self.heard + after;
            if at <= Instant::now() {
                self.next = (Due::Look, after + self.timeout / 6);
                return due;
            }
            if self.alarm.is_elapsed() || self.alarm.deadline() > at {
                self.alarm.as_mut().reset(at);
            }
            self.alarm.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_once_and_then_looked_at() {
        let begun = Instant::now();
        let mut liveness = Liveness::new(30 * SECOND);
        for (due, seconds) in
            [(Due::Ping, 15), (Due::Look, 20), (Due::Look, 25), (Due::Look, 30), (Due::Look, 35)]
        {
            assert_eq!(liveness.due().await, due);
            assert_eq!(begun.elapsed().as_secs(), seconds);
            assert_eq!(liveness.is_over(), seconds >= 30);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_is_only_asked() {
        let mut liveness = Liveness::new(12 * SECOND);
        for _ in 0..10 {
            assert_eq!(liveness.due().await, Due::Ping);
            tokio::time::advance(SECOND).await;
            liveness.heard();
        }
        // Heard again before the timer fires, it fires for nothing.
        let begun = Instant::now();
        tokio::time::advance(4 * SECOND).await;
        liveness.heard();
        assert_eq!(liveness.due().await, Due::Ping);
        assert_eq!(begun.elapsed(), 10 * SECOND);
    }
}
