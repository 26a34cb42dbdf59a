//! Limits of principals and logs: bytes and requests a second, connections, logs, and stored
//! bytes.
//!
//! ```text
//! limits_file ─ once a second ─▶ Rules ─▶ Accounts ─ of a principal, of a log ─┐
//! request, handshake ─▶ Meter::begin ─▶ 429, or 507                          ◀─┤
//! stream, body, answer ─▶ Meter::delay ─▶ wait before the next part          ◀─┤
//!                         Meter::charge ─────────────────────────────────────▶─┘
//! ```
//!
//! Without a `limits_file`, a [`Meter`] is `None` and costs one comparison. Invariants: a request
//! never waits for the bucket of another principal or log; a waiter holds no lock; accounts
//! are bounded.

mod account;
mod bucket;
mod meter;
mod quota;
mod rules;

use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use prometheus::{IntCounterVec, Opts};
use tokio::time::Instant;

use crate::Config;
use crate::app::App;
use crate::auth::Access;
use crate::watched_file::{Look, WatchedFile, read_text};
use account::{Accounts, Owner, locked};
use meter::Metered;
pub(crate) use meter::{ConnectionPlace, Direction, Meter, Part};
use quota::Usage;
use rules::Rules;

/// How often the file is looked at and the stored bytes are counted.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Longest sleep before a waiter looks again, because the limits may have changed.
pub(crate) const LOOK_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Limits(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    accounts: Mutex<Accounts>,
    file: Mutex<WatchedFile>,
    started: Instant,
    usage: RwLock<Arc<Usage>>,
    /// How long a producer may wait for its bucket.
    patience: Duration,
    limited: IntCounterVec,
}

/// A file of limits that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use limits_file {path}: {reason}")]
pub struct LimitsError {
    path: std::path::PathBuf,
    reason: String,
}

impl Limits {
    /// Reads the limits file, if there is one.
    ///
    /// # Errors
    /// It cannot be used: the server must not start with fewer limits than the operator wrote.
    pub(crate) fn open(config: &Config) -> Result<Limits, LimitsError> {
        let Some(path) = &config.limits_file else { return Ok(Limits(None)) };
        let file = WatchedFile::new(path.clone());
        let rules = read(path)?;
        tracing::info!(path = %path.display(), entries = rules.len(), "limits are on");
        let limited = Opts::new(
            "styx_limited_total",
            "Requests refused and waits begun because of a limit of a principal or a log",
        );
        // Name and label are constant and valid.
        let limited = IntCounterVec::new(limited, &["limit"]).expect("a valid metric");
        Ok(Limits(Some(Arc::new(Inner {
            accounts: Mutex::new(Accounts::new(rules)),
            file: Mutex::new(file),
            started: Instant::now(),
            usage: RwLock::default(),
            patience: config.tcp_timeout,
            limited,
        }))))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The counter of refusals and waits.
    pub(crate) fn counter(&self) -> Option<IntCounterVec> {
        self.0.as_ref().map(|inner| inner.limited.clone())
    }

    /// Watches the file and counts the stored bytes; never resolves.
    pub(crate) async fn watch(self, app: Arc<App>) {
        let Some(inner) = self.0 else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (inner, app) = (inner.clone(), app.clone());
            let check = move || {
                inner.check(false);
                inner.count_stored(&app.sessions);
            };
            if let Err(panic) = tokio::task::spawn_blocking(check).await {
                tracing::error!("cannot check the limits because of a bug: {panic}");
            }
        }
    }

    /// Reads the file again, because the operator says that it has changed.
    pub(crate) fn reload(&self) {
        if let Some(inner) = &self.0 {
            inner.check(true);
        }
    }

    /// The meter of a request for the records of a log that exists.
    pub(crate) fn meter(&self, access: &Access, log: &str) -> Meter {
        let Some(inner) = &self.0 else { return Meter::default() };
        let mut accounts = locked(&inner.accounts);
        let accounts =
            [accounts.get(Owner::Principal, access.name()), accounts.get(Owner::Log, log)];
        Meter(Some(Arc::new(Metered { limits: inner.clone(), accounts, access: access.clone() })))
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn check(&self, is_asked: bool) {
        let mut file = locked(&self.file);
        match file.look(is_asked) {
            Look::Same => {}
            Look::Gone => {
                let path = file.path().display();
                tracing::error!(%path, "the limits file is gone: the limits from before stay");
            }
            Look::Changed => {
                file.was_read();
                match read(file.path()) {
                    Ok(rules) => {
                        let (path, entries) = (file.path().display(), rules.len());
                        tracing::info!(%path, entries, "the limits file was read again");
                        locked(&self.accounts).set_rules(rules);
                    }
                    Err(error) => tracing::error!("the limits from before stay: {error}"),
                }
            }
        }
        let now = self.now();
        locked(&self.accounts).sweep(now);
    }

    fn note(&self, limit: &str) {
        self.limited.with_label_values(&[limit]).inc();
    }
}

fn read(path: &Path) -> Result<Rules, LimitsError> {
    let wrong = |reason| LimitsError { path: path.to_owned(), reason };
    let text = read_text(path, FILE_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests;
