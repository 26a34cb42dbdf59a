//! [`HeartbeatTimer`]: when this side must send a heartbeat, and when the peer
//! has been silent for too long.
//!
//! Each side announces a timeout in the handshake and closes the connection when
//! it has received nothing for that long. So each side sends something at half of
//! the other's timeout. Any byte counts as received.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The timeouts that both sides announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeartbeatTimeouts {
    /// How long the peer may be silent.
    pub(crate) ours: Duration,
    /// How long this side may be silent.
    pub(crate) peers: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct HeartbeatTimer {
    timeouts: HeartbeatTimeouts,
    received: Instant,
    sent: Instant,
    alarm: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeartbeatEvent {
    /// Send a heartbeat.
    SendHeartbeat,
    /// The peer has been silent for its whole timeout.
    PeerSilent,
}

impl HeartbeatTimer {
    pub(crate) fn new(timeouts: HeartbeatTimeouts) -> HeartbeatTimer {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + timeouts.peers / 2));
        HeartbeatTimer { timeouts, received: now, sent: now, alarm }
    }

    /// Bytes arrived from the peer, or this side did not read until now.
    pub(crate) fn note_received(&mut self) {
        self.received = Instant::now();
    }

    /// Bytes were sent to the peer.
    pub(crate) fn note_sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Resolves when something is due, and again at once until
    /// [`note_received`](Self::note_received) or [`note_sent`](Self::note_sent).
    /// Before the peer counts as silent, `is_excused` is asked; it should be true
    /// if nobody was reading or if bytes are [unread](crate::transport::Transport::has_unread).
    /// Then the peer has its whole timeout again. Cancel safe, and cheap: the
    /// timer moves only after it has fired.
    pub(crate) async fn due(&mut self, is_excused: impl Fn() -> bool) -> HeartbeatEvent {
        loop {
            let (heartbeat, silence) =
                (self.sent + self.timeouts.peers / 2, self.received + self.timeouts.ours);
            let now = Instant::now();
            if silence <= now {
                if !is_excused() {
                    return HeartbeatEvent::PeerSilent;
                }
                self.received = now;
                continue;
            }
            if heartbeat <= now {
                return HeartbeatEvent::SendHeartbeat;
            }
            let next = heartbeat.min(silence);
            if self.alarm.is_elapsed() || self.alarm.deadline() > next {
                self.alarm.as_mut().reset(next);
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
    async fn heartbeat_is_due_at_half_the_peers_timeout_and_silence_at_ours() {
        let begun = Instant::now();
        let timeouts = HeartbeatTimeouts { ours: 30 * SECOND, peers: 10 * SECOND };
        let mut timer = HeartbeatTimer::new(timeouts);
        let not_excused = || false;
        for beat in 1..=5 {
            assert_eq!(timer.due(not_excused).await, HeartbeatEvent::SendHeartbeat);
            assert_eq!(begun.elapsed(), beat * 5 * SECOND);
            timer.note_sent();
        }
        timer.note_received();
        tokio::time::advance(SECOND).await;
        timer.note_sent();
        assert_eq!(timer.due(not_excused).await, HeartbeatEvent::SendHeartbeat);
        assert_eq!(begun.elapsed(), 31 * SECOND);
        timer.note_received();
        while timer.due(not_excused).await == HeartbeatEvent::SendHeartbeat {
            timer.note_sent();
        }
        assert_eq!(begun.elapsed(), 61 * SECOND);
        // A peer that is excused once has its whole timeout again.
        let asked = std::cell::Cell::new(0);
        let excused_once = || asked.replace(asked.get() + 1) == 0;
        while timer.due(excused_once).await == HeartbeatEvent::SendHeartbeat {
            timer.note_sent();
        }
        assert_eq!((begun.elapsed(), asked.get()), (91 * SECOND, 2));
    }
}
