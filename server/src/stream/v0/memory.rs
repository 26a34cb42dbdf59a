//! [`Memory`]: a producer's part of the server's memory for what comes in.
//!
//! Who has to wait for it is held up through its socket. Invariant: nobody waits
//! without end who holds much, because others wait for that.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::app::App;
use crate::session::{Error, Reservation};

/// Who holds no more may wait for as long as it takes.
const WAITING_BYTES_MAX: usize = 16 << 10;

/// See the module.
pub(super) struct Memory {
    app: Arc<App>,
    reservation: Reservation,
    reserved: usize,
}

impl Memory {
    /// None of it yet.
    pub(super) fn new(app: &Arc<App>) -> Memory {
        let reservation = app.sessions.in_flight().reservation();
        Memory { app: Arc::clone(app), reservation, reserved: 0 }
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

    /// Waits for so much in all.
    ///
    /// # Errors
    /// `overloaded` after some seconds, for one who holds much.
    pub(super) async fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        match self.reservation.grow_to(bytes).await {
            Ok(()) => {
                self.reserved = bytes;
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

    /// Gives all of it back.
    pub(super) fn give_back(&mut self) {
        if self.reserved > 0 {
            *self = Memory::new(&self.app);
        }
    }
}
