//! [`SlowSender`]: the one rule about peers that send too slowly while others
//! wait for memory.
//!
//! ```text
//! fewer than 16 KiB/s over 1 s of waiting, memory is contended  ─▶ overloaded
//! ```
//!
//! A slow sender is only refused while others wait for the memory it holds. HTTP
//! bodies, WebSocket messages and the records of styx/0 and styx/1 all use this
//! rule and its message.

use std::fmt;
use std::time::Duration;

use styx_protocol::Code;

use super::Reservation;
use crate::peer::{MinimumRate, Verdict};
use crate::session::Error;

const BYTES_PER_SECOND_MIN: u64 = 16 << 10;
const WINDOW: Duration = Duration::from_secs(1);

/// How fast a peer sends, judged after each second of waiting for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlowSender {
    rate: MinimumRate,
    /// The result of the last finished window.
    is_slow: bool,
}

/// What a peer sends too slowly, for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    Body,
    Message,
    Record,
}

impl SlowSender {
    pub(crate) fn new() -> SlowSender {
        SlowSender { rate: MinimumRate::new(BYTES_PER_SECOND_MIN, WINDOW), is_slow: false }
    }

    /// How much more waiting finishes the current window.
    pub(crate) fn window_left(&self) -> Duration {
        self.rate.window_left()
    }

    /// Records how many bytes arrived and how long the server waited for them.
    /// Returns a verdict if that finishes a window.
    pub(crate) fn record(&mut self, bytes: u64, waited: Duration) -> Option<Verdict> {
        let verdict = self.rate.record(bytes, waited);
        if let Some(verdict) = verdict {
            self.is_slow = verdict == Verdict::TooSlow;
        }
        verdict
    }

    /// Refuses a peer that was too slow in its last finished window, if others
    /// wait for the memory that it holds.
    ///
    /// # Errors
    /// `overloaded`.
    pub(crate) fn check(&self, reservation: &Reservation, what: Sending) -> Result<(), Error> {
        if self.is_slow && reservation.is_contended() { Err(refusal(what)) } else { Ok(()) }
    }
}

fn refusal(what: Sending) -> Error {
    let message = format!(
        "the server is low on memory and this {what} arrives slower than {} KiB/s; \
         send it again faster",
        BYTES_PER_SECOND_MIN >> 10
    );
    Error::new(Code::Overloaded, message)
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sending::Body => "body",
            Sending::Message => "message",
            Sending::Record => "record",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::RequestBudget;
    use super::*;

    #[tokio::test]
    async fn slow_sender_is_refused_only_while_others_wait_for_memory() {
        let budget = RequestBudget::new(100 << 10);
        let mut held = budget.reservation();
        held.grow_to(100 << 10).now_or_never().expect("memory is free").expect("granted");
        let mut sender = SlowSender::new();
        assert_eq!(sender.record(BYTES_PER_SECOND_MIN - 1, WINDOW), Some(Verdict::TooSlow));
        assert!(sender.check(&held, Sending::Body).is_ok(), "nobody waits");
        let mut late = budget.reservation();
        let mut waiting = Box::pin(late.grow_to(1));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = sender.check(&held, Sending::Body).expect_err("another waits");
        assert_eq!(refused.code, Code::Overloaded);
        assert!(refused.message.contains("this body arrives slower than 16 KiB/s"), "{refused}");
        assert_eq!(sender.record(BYTES_PER_SECOND_MIN, WINDOW), Some(Verdict::FastEnough));
        assert!(sender.check(&held, Sending::Body).is_ok(), "the last window was fast enough");
    }
}
