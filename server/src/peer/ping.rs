//! [`PingTimer`]: when to ping a silent peer, and when to check whether it is
//! still there.
//!
//! ```text
//! activity ── half the timeout ──▶ ping ── a sixth ──▶ check ── a sixth ──▶ check ── …
//! ```
//!
//! Activity is any byte that arrives. It is also activity when the kernel accepts
//! bytes again after it accepted none, because then the peer has read. What a
//! check means is for the connection to decide, because it knows what the peer
//! has yet to read.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(crate) struct PingTimer {
    timeout: Duration,
    last_activity: Instant,
    /// What is next, and how long after the last activity.
    next: (PingEvent, Duration),
    alarm: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PingEvent {
    /// Ping the peer; due once after each activity.
    SendPing,
    /// Check whether the silent peer is still there.
    CheckPeer,
}

impl PingTimer {
    pub(crate) fn new(timeout: Duration) -> PingTimer {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + timeout / 2));
        let next = (PingEvent::SendPing, timeout / 2);
        PingTimer { timeout, last_activity: now, next, alarm }
    }

    /// The peer showed activity, or this side did not read until now.
    pub(crate) fn restart(&mut self) {
        self.last_activity = Instant::now();
        self.next = (PingEvent::SendPing, self.timeout / 2);
    }

    /// Whether there was no activity for the whole timeout.
    pub(crate) fn is_expired(&self) -> bool {
        self.last_activity.elapsed() >= self.timeout
    }

    /// Resolves when something is due. Cancel safe, and cheap: the timer moves
    /// only after it has fired, or if it would fire too late.
    pub(crate) async fn due(&mut self) -> PingEvent {
        loop {
            let (event, after) = self.next;
            let at = self.last_activity + after;
            if at <= Instant::now() {
                self.next = (PingEvent::CheckPeer, after + self.timeout / 6);
                return event;
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
    async fn silent_peer_is_pinged_once_and_then_checked() {
        let begun = Instant::now();
        let mut timer = PingTimer::new(30 * SECOND);
        for (event, seconds) in [
            (PingEvent::SendPing, 15),
            (PingEvent::CheckPeer, 20),
            (PingEvent::CheckPeer, 25),
            (PingEvent::CheckPeer, 30),
            (PingEvent::CheckPeer, 35),
        ] {
            assert_eq!(timer.due().await, event);
            assert_eq!(begun.elapsed().as_secs(), seconds);
            assert_eq!(timer.is_expired(), seconds >= 30);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_answers_is_only_pinged() {
        let mut timer = PingTimer::new(12 * SECOND);
        for _ in 0..10 {
            assert_eq!(timer.due().await, PingEvent::SendPing);
            tokio::time::advance(SECOND).await;
            timer.restart();
        }
        // Activity before the timer fires: it then fires for nothing.
        let begun = Instant::now();
        tokio::time::advance(4 * SECOND).await;
        timer.restart();
        assert_eq!(timer.due().await, PingEvent::SendPing);
        assert_eq!(begun.elapsed(), 10 * SECOND);
    }
}
