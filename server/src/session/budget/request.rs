//! [`RequestBudget`]: the memory that all requests together may take.
//!
//! A body or connection reserves memory before it keeps bytes. While it waits, its
//! socket is not read, so TCP slows its peer down. After a wait that is too long it
//! is refused as overloaded, so memory stays bounded whatever arrives. A record that needs
//! more than the whole budget is refused as too large, without a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use styx_protocol::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::Error;

/// How long a reservation may wait for memory.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Reservations grow in steps of this.
const STEP_BYTES: usize = 64 << 10;

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct RequestBudget {
    free: Arc<Semaphore>,
    bytes_max: usize,
    waiting: Arc<AtomicUsize>,
}

/// Part of the budget; freed when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    free: Arc<Semaphore>,
    bytes_max: usize,
    held: Option<OwnedSemaphorePermit>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one reservation that waits, until it is dropped.
struct WaitGuard<'a>(&'a AtomicUsize);

impl<'a> WaitGuard<'a> {
    fn new(count: &'a AtomicUsize) -> WaitGuard<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        WaitGuard(count)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RequestBudget {
    pub(crate) fn new(bytes_max: usize) -> RequestBudget {
        // A reservation takes at most a u32 of permits.
        let bytes_max = bytes_max.min(u32::MAX as usize);
        let free = Arc::new(Semaphore::new(bytes_max));
        RequestBudget { free, bytes_max, waiting: Arc::default() }
    }

    /// Bytes reserved now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.free.available_permits())
    }

    /// An empty reservation.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation {
            free: self.free.clone(),
            bytes_max: self.bytes_max,
            held: None,
            waiting: self.waiting.clone(),
        }
    }
}

impl Reservation {
    fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Whether it holds more than one step and another reservation waits.
    pub(crate) fn is_contended(&self) -> bool {
        self.held_bytes() > STEP_BYTES && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Checks that one record with `bytes` in memory can ever fit the budget.
    ///
    /// # Errors
    /// `record_too_large`: it never can.
    pub(crate) fn check_record(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.bytes_max { Ok(()) } else { Err(never_fits(bytes, self.bytes_max)) }
    }

    /// Makes sure that `bytes` are reserved in all, or the whole budget if it
    /// is smaller.
    ///
    /// # Errors
    /// `overloaded` after a wait of 5 s; what was held stays held.
    pub(crate) async fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        let held = self.held_bytes();
        let wanted = bytes.min(self.bytes_max);
        if held >= wanted {
            return Ok(());
        }
        let step = if held == 0 { wanted } else { (wanted - held).max(STEP_BYTES) };
        let step = step.min(self.bytes_max - held);
        let permits = u32::try_from(step).unwrap_or(u32::MAX);
        let permit = match self.free.clone().try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = WaitGuard::new(&self.waiting);
                let free = self.free.clone().acquire_many_owned(permits);
                match tokio::time::timeout(WAIT_MAX, free).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return Err(overloaded()),
                }
            }
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }

    /// Moves up to `bytes` of it to a reservation of their own.
    pub(crate) fn split_off(&mut self, bytes: usize) -> Reservation {
        let bytes = bytes.min(self.held_bytes());
        let held = self.held.as_mut().and_then(|held| held.split(bytes));
        let (free, waiting) = (self.free.clone(), self.waiting.clone());
        Reservation { free, bytes_max: self.bytes_max, held, waiting }
    }

    /// Frees what is reserved beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let extra = self.held_bytes().saturating_sub(bytes);
        if let Some(held) = &mut self.held {
            drop(held.split(extra));
        }
    }
}

fn never_fits(bytes: usize, bytes_max: usize) -> Error {
    let message = format!(
        "the record needs {bytes} bytes of memory or more, but max_in_flight_bytes is \
         {bytes_max}: send a smaller record, or raise max_in_flight_bytes"
    );
    Error::new(Code::RecordTooLarge, message)
}

fn overloaded() -> Error {
    let message = "no memory for this request became free within 5 s (max_in_flight_bytes); \
                   send it again more slowly";
    Error::new(Code::Overloaded, message)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memory_is_contended_while_another_waits_for_it() {
        let budget = RequestBudget::new(2 * STEP_BYTES);
        let (mut small, mut large) = (budget.reservation(), budget.reservation());
        small.grow_to(1).await.expect("memory is free");
        large.grow_to(STEP_BYTES + 1).await.expect("memory is free");
        assert!(!large.is_contended());
        {
            let mut late = budget.reservation();
            let waiting = late.grow_to(STEP_BYTES);
            tokio::pin!(waiting);
            assert!((&mut waiting).now_or_never().is_none());
            assert!(large.is_contended() && !small.is_contended());
        }
        assert!(!large.is_contended(), "the wait was cancelled");
    }

    #[tokio::test(start_paused = true)]
    async fn reservation_that_is_split_counts_the_same_until_both_parts_are_dropped() {
        let budget = RequestBudget::new(100);
        let mut whole = budget.reservation();
        assert_eq!(whole.split_off(10).held_bytes(), 0, "there is nothing to move");
        whole.grow_to(60).await.expect("memory is free");
        let part = whole.split_off(20);
        assert_eq!((whole.held_bytes(), part.held_bytes(), budget.bytes()), (40, 20, 60));
        drop(part);
        assert_eq!(budget.bytes(), 40);
        assert_eq!(whole.split_off(1000).held_bytes(), 40, "all of it");
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn record_that_can_never_fit_is_too_large() {
        let budget = RequestBudget::new(100);
        let reservation = budget.reservation();
        assert!(reservation.check_record(100).is_ok());
        let refused = reservation.check_record(101).expect_err("more than the budget");
        assert_eq!((refused.code, refused.retry_after), (Code::RecordTooLarge, None));
        for part in ["101 bytes", "max_in_flight_bytes is 100"] {
            assert!(refused.message.contains(part), "{refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_memory_can_be_reserved_again_and_waits_are_bounded() {
        let budget = RequestBudget::new(100);
        let mut first = budget.reservation();
        first.grow_to(60).await.expect("memory is free");
        assert_eq!(budget.bytes(), 60);
        let mut second = budget.reservation();
        let refused = second.grow_to(50).await.expect_err("too little is free");
        assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(1)));
        drop(first);
        second.grow_to(50).await.expect("memory is free again");
        second.grow_to(1000).await.expect("the whole budget is enough");
        second.shrink_to(30);
        second.shrink_to(40);
        assert_eq!(budget.bytes(), 30);
        drop(second);
        assert_eq!(budget.bytes(), 0);
    }
}
