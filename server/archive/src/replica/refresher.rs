//! The refresher: looks at the manifests of known logs when they are due.
//!
//! ```text
//! schedule ─▶ lock the name ─▶ conditional GET ─▶ unchanged │ settle ─▶ schedule
//! ```
//!
//! One task waits for the earliest deadline of all logs. Invariant: the name of a log is locked from
//! the request to the change, so an older manifest never replaces a newer one.

use std::sync::Arc;
use std::time::Instant;

use styx_protocol::LogId;
use tokio::time::MissedTickBehavior;

use super::Inner;
use crate::store::{Error, Kind};

/// Runs until the runtime ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut clock = tokio::time::interval(inner.refresh);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Some(id) = inner.logs.take_due() {
            // It is closed only with the runtime.
            let Ok(permit) = inner.looks.clone().acquire_owned().await else { return };
            let inner = inner.clone();
            tokio::spawn(async move {
                let looked = inner.refresh(id, Instant::now()).await;
                inner.logs.done(id, looked.map_err(drop));
                inner.wake.notify_one();
                drop(permit);
            });
        }
        let until_due = inner.logs.until_due();
        tokio::select! {
            () = async {
                match until_due {
                    Some(until_due) => tokio::time::sleep(until_due).await,
                    None => std::future::pending().await,
                }
            } => {}
            () = inner.wake.notified() => {}
            _ = clock.tick() => inner.logs.hurry_used(),
        }
    }
}

impl Inner {
    /// Brings a log up to date, unless a request that began after `asked` has done so. Returns
    /// whether the log has changed.
    ///
    /// # Errors
    /// The store failed, the manifest is damaged, or the log cannot be changed. It is served as
    /// before.
    pub(super) async fn refresh(&self, id: LogId, asked: Instant) -> Result<bool, Error> {
        let Some(name) = self.logs.name(id) else { return Ok(false) };
        let refreshed = self.refresh_alone(id, asked).await;
        match &refreshed {
            Ok(_) => self.totals.succeeded(),
            Err(error) => self.totals.failed(&format!("refreshing the log {name}"), error),
        }
        refreshed
    }

    async fn refresh_alone(&self, id: LogId, asked: Instant) -> Result<bool, Error> {
        let Some(name) = self.logs.name(id) else { return Ok(false) };
        let lock = self.logs.lock(&name);
        let alone = lock.lock().await;
        if self.logs.was_looked_at_since(id, asked) {
            return Ok(false);
        }
        let begun = Instant::now();
        let (has_changed, renamed) = match self.read(id, self.logs.applied(id).as_ref()).await {
            Ok(None) => (false, None),
            Ok(Some(fresh)) => {
                let now = fresh.manifest.name.clone();
                self.logs.note(&fresh.manifest);
                let settled = self.settle(&name, vec![fresh]).await?;
                (settled, Some(now).filter(|now| *now != name))
            }
            Err(error) if error.kind == Kind::Missing => {
                self.logs.forget(id);
                (self.settle(&name, Vec::new()).await?, None)
            }
            Err(error) => {
                if error.kind == Kind::Damaged {
                    self.logs.note_unreadable(id);
                }
                return Err(error);
            }
        };
        self.logs.set_looked_at(id, begun);
        drop(alone);
        if let Some(renamed) = renamed {
            let lock = self.logs.lock(&renamed);
            let _alone = lock.lock().await;
            self.settle(&renamed, Vec::new()).await?;
        }
        Ok(has_changed)
    }
}
