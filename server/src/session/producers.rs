//! [`Producers`]: each producer id has one connection per log, the newest.
//!
//! ```text
//! older connection ── taken_over ─▶ finishes its appends ──── release ─┐
//! newer handshake ─── claim ────────────────────── wait_until_sole ◀───┘─▶ 101
//! ```
//!
//! Invariant: after [`wait_until_sole`](Claim::wait_until_sole) no older connection
//! of the producer appends anything to this log any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use styx_engine::ProducerState;
use styx_protocol::{Code, LogId};
use tokio::sync::watch;

use super::{Error, OpenLog};

type ProducerKey = (LogId, u64);

/// The claims of all connections, by log and producer id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers(Arc<Mutex<HashMap<ProducerKey, Arc<ProducerSlot>>>>);

/// One producer of one log.
#[derive(Debug)]
struct ProducerSlot {
    claims: watch::Sender<ClaimState>,
}

#[derive(Debug, Default)]
struct ClaimState {
    newest: u64,
    /// The claims that may still append.
    unreleased: BTreeSet<u64>,
}

/// A connection's right to append as this producer. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Claim {
    producers: Producers,
    key: ProducerKey,
    slot: Arc<ProducerSlot>,
    number: u64,
    is_released: bool,
}

impl OpenLog {
    /// Refuses an epoch that is fenced already; `None` is never refused.
    pub(crate) fn check_epoch(&self, id: u64, epoch: Option<u32>) -> Result<(), Error> {
        match (self.log.producer(id), epoch) {
            (Some(state), Some(epoch)) if epoch < state.epoch => {
                let current = state.epoch;
                Err(styx_engine::Error::ProducerFenced { producer: id, epoch, current }.into())
            }
            _ => Ok(()),
        }
    }

    /// Makes this epoch, or the next one, the current one. When it resolves, the epoch
    /// is durable and every append that was queued before has finished.
    pub(crate) async fn begin_producer(
        &self,
        id: u64,
        epoch: Option<u32>,
    ) -> Result<ProducerState, Error> {
        Ok(self.log.begin_producer(id, epoch)?.await?)
    }

    /// Forgets a producer that will not come back, after everything queued before is
    /// durable.
    pub(crate) fn forget_producer(&self, id: u64) -> Result<(), Error> {
        Ok(self.log.forget_producer(id)?)
    }
}

impl Producers {
    /// Takes over a producer. Older connections learn it from
    /// [`Claim::taken_over`].
    pub(crate) fn claim(&self, log: LogId, producer: u64) -> Claim {
        let key = (log, producer);
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(key).or_insert_with(|| {
            Arc::new(ProducerSlot { claims: watch::Sender::new(ClaimState::default()) })
        });
        let slot = Arc::clone(slot);
        let mut number = 0;
        slot.claims.send_modify(|claims| {
            claims.newest += 1;
            number = claims.newest;
            claims.unreleased.insert(number);
        });
        Claim { producers: self.clone(), key, slot, number, is_released: false }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Claim {
    /// Resolves when a newer connection wants to append as this producer. Cancel
    /// safe.
    pub(crate) fn taken_over(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (mut claims, number) = (self.slot.claims.subscribe(), self.number);
        async move {
            // An error means that the slot is gone, and with it every claim.
            let _ = claims.wait_for(|claims| claims.newest > number).await;
        }
    }

    /// Waits at most `at_most` until every older connection has released its claim.
    ///
    /// # Errors
    /// `producer_fenced` if an even newer connection appears, `overloaded` if it
    /// takes too long.
    pub(crate) async fn wait_until_sole(&self, at_most: Duration) -> Result<(), Error> {
        let mut claims = self.slot.claims.subscribe();
        let is_decided = |claims: &ClaimState| {
            claims.newest > self.number || claims.unreleased.first() == Some(&self.number)
        };
        let decided = tokio::time::timeout(at_most, claims.wait_for(is_decided)).await;
        match decided {
            Ok(Ok(claims)) if claims.newest == self.number => Ok(()),
            Ok(_) => Err(taken_over()),
            Err(_) => Err(Error::new(
                Code::Overloaded,
                "an older connection of this producer still has appends in flight; try again",
            )),
        }
    }

    /// Nothing will be appended under this claim any more.
    pub(crate) fn release(&mut self) {
        if std::mem::replace(&mut self.is_released, true) {
            return;
        }
        let mut slots = self.producers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_free = false;
        self.slot.claims.send_modify(|claims| {
            claims.unreleased.remove(&self.number);
            is_free = claims.unreleased.is_empty();
        });
        if is_free {
            slots.remove(&self.key);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// The error for the older of two connections.
pub(crate) fn taken_over() -> Error {
    Error::new(
        Code::ProducerFenced,
        "another connection with this producer id took over; \
         use one connection for each producer id and log",
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LOG: LogId = LogId(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn newest_claim_is_sole_after_all_older_claims_are_released() {
        let producers = Producers::default();
        let mut first = producers.claim(LOG, 7);
        assert!(first.wait_until_sole(SECOND).await.is_ok());
        assert!(first.taken_over().now_or_never().is_none());
        let second = producers.claim(LOG, 7);
        first.taken_over().await;
        assert!(second.wait_until_sole(SECOND).now_or_never().is_none());
        let third = producers.claim(LOG, 7);
        let refused = second.wait_until_sole(SECOND).await.expect_err("a third came");
        assert_eq!(refused.code, Code::ProducerFenced);
        // The second is gone, but the first is not released.
        drop(second);
        let refused = third.wait_until_sole(SECOND).await.expect_err("the first is not released");
        assert_eq!(refused.code, Code::Overloaded);
        first.release();
        assert!(third.wait_until_sole(SECOND).await.is_ok());
        drop((first, third));
        assert_eq!(producers.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn claims_of_other_producers_and_logs_are_independent() {
        let producers = Producers::default();
        let (first, other) = (producers.claim(LOG, 7), producers.claim(LOG, 8));
        let elsewhere = producers.claim(LogId(2), 7);
        for claim in [&first, &other, &elsewhere] {
            assert!(claim.wait_until_sole(SECOND).await.is_ok());
            assert!(claim.taken_over().now_or_never().is_none());
        }
        // Dropping a claim that was released earlier does not remove a newer one.
        let mut old = first;
        old.release();
        let newer = producers.claim(LOG, 7);
        drop(old);
        assert!(newer.taken_over().now_or_never().is_none());
        assert_eq!(producers.len(), 3);
    }
}
