//! [`ProducerMemory`]: the part of the request budget that a connection of styx/0
//! or styx/1 holds.
//!
//! A connection that has to wait for memory is not read, so TCP slows its peer
//! down. Invariant: no connection keeps much memory for long that others wait for.
//! One that waits for more is refused after a while, and so is one whose record
//! arrives too slowly.

use std::time::Duration;

use futures_util::FutureExt;

use super::{Reservation, Sending, SlowSender, UNLIMITED_WAIT_BYTES_MAX};
use crate::peer::Verdict;
use crate::session::Error;

/// See the module.
#[derive(Debug)]
pub(crate) struct ProducerMemory {
    reservation: Reservation,
    reserved: usize,
    sender: SlowSender,
}

impl ProducerMemory {
    /// Holds nothing yet.
    pub(crate) fn new(reservation: Reservation) -> ProducerMemory {
        ProducerMemory { reservation, reserved: 0, sender: SlowSender::new() }
    }

    /// Checks that one record with `bytes` in memory can ever fit the budget.
    ///
    /// # Errors
    /// `record_too_large`: it never can.
    pub(crate) fn check_record(&self, bytes: usize) -> Result<(), Error> {
        self.reservation.check_record(bytes)
    }

    /// Reserves `bytes` in all if they are free now; returns whether it has them.
    pub(crate) fn try_reserve(&mut self, bytes: usize) -> bool {
        if bytes > self.reserved {
            match self.reservation.grow_to(bytes).now_or_never() {
                Some(Ok(())) => self.reserved = bytes,
                Some(Err(_)) | None => return false,
            }
        }
        true
    }

    /// Waits for `bytes` in all. A cancelled wait starts again from zero.
    ///
    /// Returns without them if the wait took too long but this connection holds
    /// little: then it may go on waiting.
    ///
    /// # Errors
    /// `overloaded` after some seconds, if this connection holds much.
    pub(crate) async fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        match self.reservation.grow_to(bytes).await {
            Ok(()) => {
                self.reserved = self.reserved.max(bytes);
                Ok(())
            }
            Err(_) if self.reserved <= UNLIMITED_WAIT_BYTES_MAX => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether others wait for the memory held here.
    pub(crate) fn is_contended(&self) -> bool {
        self.reservation.is_contended()
    }

    /// Frees what is reserved beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.reserved = self.reserved.min(bytes);
        self.reservation.shrink_to(bytes);
    }

    /// Records how many bytes of a large record arrived, and how long the server
    /// waited for them. Only the window that this finishes counts.
    ///
    /// # Errors
    /// `overloaded` if that window was too slow and others wait for the memory.
    pub(crate) fn record_rate(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        match self.sender.record(bytes, waited) {
            Some(Verdict::TooSlow) => self.sender.check(&self.reservation, Sending::Record),
            Some(Verdict::FastEnough) | None => Ok(()),
        }
    }

    /// How much more waiting finishes the current rate window.
    pub(crate) fn window_left(&self) -> Duration {
        self.sender.window_left()
    }
}
