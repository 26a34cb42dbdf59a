//! [`Liveness`]: when a silent peer has to be asked whether it is there, and when
//! it has been silent for too long.
//!
//! ```text
//! heard ──── half the time-out ──▶ ping ──── the other half ──▶ silence
//! ```
//!
//! Any byte counts as heard, so a peer that answers pings may do nothing else for
//! as long as it likes, and one that does not read may stay as long as it sends.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(super) struct Liveness {
    timeout: Duration,
    heard: Instant,
    /// A ping was due since then.
    is_asked: bool,
    alarm: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the peer; said once.
    Ping,
    /// The peer has been silent for the whole time.
    Silence,
}

impl Liveness {
    pub(super) fn new(timeout: Duration) -> Liveness {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + timeout / 2));
        Liveness { timeout, heard: now, is_asked: false, alarm }
    }

    /// Something came from the peer, or this side was not reading until now.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.is_asked = false;
    }

    /// Resolves when something is due. Cancel safe, and cheap: the timer is
    /// moved only when it has fired, or fires too late.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            let (due, after) = if self.is_asked {
                (Due::Silence, self.timeout)
            } else {
                (Due::Ping, self.timeout / 2)
            };
            let at = self.heard + after;
            if at <= Instant::now() {
                self.is_asked = true;
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
    async fn a_silent_peer_is_asked_once_and_then_given_up() {
        let begun = Instant::now();
        let mut liveness = Liveness::new(30 * SECOND);
        assert_eq!(liveness.due().await, Due::Ping);
        assert_eq!(begun.elapsed(), 15 * SECOND);
        assert_eq!(liveness.due().await, Due::Silence);
        assert_eq!(begun.elapsed(), 30 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_stays() {
        let mut liveness = Liveness::new(10 * SECOND);
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
        assert_eq!(begun.elapsed(), 9 * SECOND);
    }
}
