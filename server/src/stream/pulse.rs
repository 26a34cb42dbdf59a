//! [`Pulse`]: when this side has to say something, and when the peer has been
//! silent for too long.
//!
//! Each side announces a time-out in the handshake, closes when it has heard
//! nothing for as long, and so says something at half of the other's. Any byte
//! counts as heard.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::Duration;

use styx_protocol::limits::STREAM_TIMEOUT_SECONDS_MIN;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::handover::Request;
use crate::header;
use crate::session::Error;

const TIMEOUT_MIN: Duration = Duration::from_secs(STREAM_TIMEOUT_SECONDS_MIN);
/// Longer ones are kept as this: nobody notices, and it can be added to any time.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What both sides announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// Ours: the peer may be silent for so long.
    pub(super) ours: Duration,
    /// The peer's.
    pub(super) peers: Duration,
}

impl Timeouts {
    /// Those of a handshake; ours is what the 101 has to announce.
    pub(super) fn of(request: &Request) -> Result<Timeouts, Error> {
        let ours = request.app.config.tcp_timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        let peers = header::stream_timeout(&request.headers)?.unwrap_or(ours).min(TIMEOUT_MAX);
        Ok(Timeouts { ours, peers })
    }
}

/// Whether the peer said something that nobody has read, or has closed its side;
/// to be asked before it is taken for silent. A server that was held up may see
/// its timers fire before it is told of bytes.
pub(super) fn has_unread(tcp: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    // Asks the system itself; the runtime knows only what it was told.
    socket2::SockRef::from(tcp).peek(&mut byte).is_ok()
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    timeouts: Timeouts,
    heard: Instant,
    said: Instant,
    alarm: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a heartbeat.
    Heartbeat,
    /// The peer has been silent for its whole time.
    Silence,
}

impl Pulse {
    pub(super) fn new(timeouts: Timeouts) -> Pulse {
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(now + timeouts.peers / 2));
        Pulse { timeouts, heard: now, said: now, alarm }
    }

    /// Bytes came from the peer, or this side was not reading until now.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Bytes went to the peer.
    pub(super) fn said(&mut self) {
        self.said = Instant::now();
    }

    /// Resolves when something is due; asked again at once, it says the same
    /// until [`heard`](Self::heard) or [`said`](Self::said). Before silence is held
    /// against the peer, `is_excused` is asked: it is when nobody listened, or when
    /// something [lies unread](has_unread). Cancel safe, and cheap: the timer is
    /// moved only when it has fired.
    pub(super) async fn due(&mut self, is_excused: impl Fn() -> bool) -> Due {
        loop {
            let (beat, silence) =
                (self.said + self.timeouts.peers / 2, self.heard + self.timeouts.ours);
            let now = Instant::now();
            if silence <= now {
                if !is_excused() {
                    return Due::Silence;
                }
                self.heard = now;
                continue;
            }
            if beat <= now {
                return Due::Heartbeat;
            }
            let next = beat.min(silence);
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
    async fn a_heartbeat_is_due_at_half_the_peers_time_and_silence_at_ours() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(Timeouts { ours: 30 * SECOND, peers: 10 * SECOND });
        let not_excused = || false;
        for beat in 1..=5 {
            assert_eq!(pulse.due(not_excused).await, Due::Heartbeat);
            assert_eq!(begun.elapsed(), beat * 5 * SECOND);
            pulse.said();
        }
        pulse.heard();
        tokio::time::advance(SECOND).await;
        pulse.said();
        assert_eq!(pulse.due(not_excused).await, Due::Heartbeat);
        assert_eq!(begun.elapsed(), 31 * SECOND);
        pulse.heard();
        while pulse.due(not_excused).await == Due::Heartbeat {
            pulse.said();
        }
        assert_eq!(begun.elapsed(), 61 * SECOND);
        // Excused once, it has all its time again.
        let asked = std::cell::Cell::new(0);
        let excused_once = || asked.replace(asked.get() + 1) == 0;
        while pulse.due(excused_once).await == Due::Heartbeat {
            pulse.said();
        }
        assert_eq!((begun.elapsed(), asked.get()), (91 * SECOND, 2));
    }
}
