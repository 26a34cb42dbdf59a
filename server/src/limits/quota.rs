//! Stored bytes and numbers of logs: they are counted by grants, because a log has no owner.
//!
//! | limit of a principal | counts |
//! |---|---|
//! | `logs` | the logs that it may manage |
//! | `stored_bytes` | the bytes of the logs that it may append to |
//!
//! Stored bytes are counted once a second, so a fast producer may exceed its limit by what it
//! appends in a second.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use styx_protocol::Code;

use super::account::{Account, Owner, Stored, locked};
use super::meter::{Metered, limited};
use super::{Inner, Limits};
use crate::auth::{Access, Action};
use crate::session::{Error, Sessions};

/// The bytes of every log at one time.
#[derive(Debug, Default)]
pub(super) struct Usage {
    version: u64,
    /// Sorted by name.
    logs: Vec<(String, u64)>,
}

impl Usage {
    fn of_log(&self, name: &str) -> u64 {
        let found = self.logs.binary_search_by(|(log, _)| log.as_str().cmp(name));
        found.ok().and_then(|at| self.logs.get(at)).map_or(0, |(_, bytes)| *bytes)
    }

    fn of_principal(&self, access: &Access) -> u64 {
        let mine = self.logs.iter().filter(|(log, _)| access.allows(Action::Append, log));
        mine.map(|(_, bytes)| bytes).sum()
    }
}

impl Inner {
    /// Counts the stored bytes, if any limit needs them.
    pub(super) fn count_stored(&self, sessions: &Sessions) {
        if !locked(&self.accounts).rules().count_stored_bytes() {
            return;
        }
        let logs = sessions.list().into_iter().map(|log| (log.name, log.file_size));
        let mut logs: Vec<(String, u64)> = logs.collect();
        logs.sort_unstable();
        let mut usage = self.usage.write().unwrap_or_else(PoisonError::into_inner);
        *usage = Arc::new(Usage { version: usage.version + 1, logs });
    }
}

impl Metered {
    /// Whether no more bytes may be stored.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(super) fn check_stored(&self) -> Result<(), Error> {
        for account in &self.accounts {
            let most = account.stored_bytes_max.load(Ordering::Relaxed);
            if most > 0 && self.stored(account) >= most {
                self.limits.note("stored_bytes");
                let owner = match account.owner {
                    Owner::Principal => format!("the logs that {} may append to", account.shown()),
                    Owner::Log => account.shown(),
                };
                let message = format!(
                    "the limit of stored bytes of {owner} is reached: it is {most} (stored_bytes \
                     in the limits file); remove records with `styx logs trim` or by retention, \
                     or delete a log"
                );
                return Err(limited(Code::QuotaExceeded, message, "stored_bytes", most, None));
            }
        }
        Ok(())
    }

    fn stored(&self, account: &Account) -> u64 {
        let usage = self.limits.usage.read().unwrap_or_else(PoisonError::into_inner).clone();
        let principal = match &self.access {
            Access::Principal(principal) => Arc::as_ptr(principal) as usize,
            Access::Off | Access::Anonymous => 0,
        };
        let mut last = locked(&account.stored);
        if let Some(last) =
            last.filter(|last| last.version == usage.version && last.principal == principal)
        {
            return last.bytes;
        }
        let bytes = match account.owner {
            Owner::Principal => usage.of_principal(&self.access),
            Owner::Log => usage.of_log(&account.name),
        };
        *last = Some(Stored { version: usage.version, principal, bytes });
        bytes
    }
}

/// The right to create a log. Others of the same principal wait until it is dropped.
pub(crate) struct Creation(
    #[expect(dead_code, reason = "held")] Option<tokio::sync::OwnedMutexGuard<()>>,
);

impl Limits {
    /// Checks whether a principal may have another log. Hold the result until it exists.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(crate) async fn create_log(
        &self,
        access: &Access,
        sessions: &Sessions,
    ) -> Result<Creation, Error> {
        let Some(inner) = &self.0 else { return Ok(Creation(None)) };
        let account = locked(&inner.accounts).get(Owner::Principal, access.name());
        let most = account.logs_max.load(Ordering::Relaxed);
        if most == 0 {
            return Ok(Creation(None));
        }
        let guard = account.creating.clone().lock_owned().await;
        let logs = sessions.list();
        let count = logs.iter().filter(|log| access.allows(Action::Manage, &log.name)).count();
        if (count as u64) < most {
            return Ok(Creation(Some(guard)));
        }
        inner.note("logs");
        let message = format!(
            "{} may manage {most} logs (logs in the limits file), and {count} exist; delete one",
            account.shown()
        );
        Err(limited(Code::QuotaExceeded, message, "logs", most, None))
    }

    /// Checks whether a principal may restore a log. Others may restore one meanwhile, because
    /// that takes long, so a principal may exceed its limit by the restores that run.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(crate) async fn restore_log(
        &self,
        access: &Access,
        sessions: &Sessions,
        log: &str,
    ) -> Result<(), Error> {
        self.meter(access, log).check_stored()?;
        self.create_log(access, sessions).await.map(drop)
    }
}
