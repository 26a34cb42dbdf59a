//! [`Memory`]: a producer's part of the server's memory for what comes in.
//!
//! Who has to wait for it is held up through its socket. Invariant: nobody keeps
//! much without end that others wait for: not who waits for more, and not who lets
//! a record come too slowly.

use std::time::Duration;

use futures_util::FutureExt;
use styx_protocol::Code;

use crate::pace::{Pace, Verdict};
use crate::session::{Error, Reservation};

/// Who holds no more may wait for as long as it takes.
const WAITING_BYTES_MAX: usize = 16 << 10;
/// How fast a large record has to come while others wait for memory.
const BYTES_PER_SECOND_WANTED: u64 = 16 << 10;
const WANTED_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    reservation: Reservation,
    reserved: usize,
    pace: Pace,
}

impl Memory {
    /// None of it yet.
    pub(super) fn new(reservation: Reservation) -> Memory {
        let pace = Pace::new(BYTES_PER_SECOND_WANTED, WANTED_AFTER);
        Memory { reservation, reserved: 0, pace }
    }

    /// Reserves so much in all, if that can be had at once.
    pub(super) fn has(&mut self, bytes: usize) -> bool {
        if bytes > self.reserved {
            match self.reservation.grow_to(bytes).now_or_never() {
                Some(Ok(())) => self.reserved = bytes,
                Some(Err(_)) | None => return false,
            }
        }
        true
    }

    /// Waits for so much in all. Who is cancelled waits from the beginning again.
    ///
    /// # Errors
    /// `overloaded` after some seconds, for one who holds much.
    pub(super) async fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        match self.reservation.grow_to(bytes).await {
            Ok(()) => {
                self.reserved = self.reserved.max(bytes);
                Ok(())
            }
            Err(_) if self.reserved <= WAITING_BYTES_MAX => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether others wait for what is held here.
    pub(super) fn is_wanted(&self) -> bool {
        self.reservation.is_wanted()
    }

    /// Gives back what is reserved beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.reserved = self.reserved.min(bytes);
        self.reservation.shrink_to(bytes);
    }

    /// Takes note of what came of a large record, and for how long that was waited
    /// for.
    ///
    /// # Errors
    /// `overloaded` when it comes too slowly to keep memory that others wait for.
    pub(super) fn note_pace(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        let verdict = self.pace.note(bytes, waited);
        if verdict == Some(Verdict::TooSlow) && self.is_wanted() {
            let message = "the server is short of memory, and a record comes too slowly to keep \
                           some: send it again, faster";
            return Err(Error::new(Code::Overloaded, message));
        }
        Ok(())
    }

    /// After so much more waiting the pace is judged.
    pub(super) fn is_judged_in(&self) -> Duration {
        self.pace.left()
    }
}
