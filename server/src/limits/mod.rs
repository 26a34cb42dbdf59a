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
//! Without a `limits_file`, a [`Meter`] is `None` and costs one comparison. Invariants: nobody
//! waits for the bucket of another principal or log; who waits here holds no lock; accounts
//! are bounded.

mod account;
mod bucket;
mod quota;
mod rules;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use prometheus::{IntCounterVec, Opts};
use styx_protocol::Code;
use tokio::time::Instant;

use crate::Config;
use crate::app::App;
use crate::auth::Access;
use crate::session::Error;
use crate::watched_file::{Look, WatchedFile, read_text};
use account::{Account, Accounts, Owner, Place, locked};
use bucket::Bucket;
use quota::Usage;
use rules::Rules;

/// How often the file is looked at and the stored bytes are counted.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Longest sleep before somebody who waits looks again, because the limits may have changed.
pub(crate) const LOOK_AFTER: Duration = Duration::from_secs(1);
/// The value of `Retry-After` if nobody knows when there will be a place.
const TRY_AGAIN_S: u32 = 1;

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

/// Whether records are appended or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Append,
    Read,
}

/// What the next part of a request or a stream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes of a request or stream that was counted when it began.
    Bytes,
    /// An append of a stream, which counts as a request too.
    Append,
}

/// What a request, or a stream, uses of the limits of its principal and of its log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Option<Arc<Metered>>);

#[derive(Debug)]
struct Metered {
    limits: Arc<Inner>,
    accounts: [Arc<Account>; 2],
    access: Access,
}

/// A place among the connections of a principal and of a log, until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPlace(#[expect(dead_code, reason = "held")] Arc<[Place; 2]>);

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

impl Meter {
    /// Counts a request, or the opening of a stream.
    ///
    /// # Errors
    /// `too_many_requests` if a bucket is empty, `quota_exceeded` if too much is stored.
    pub(crate) fn begin(&self, direction: Direction) -> Result<(), Error> {
        let Some(metered) = &self.0 else { return Ok(()) };
        if direction == Direction::Append {
            metered.check_stored()?;
        }
        if let Some(wait) = metered.longest_wait(direction, Part::Append) {
            return Err(metered.refusal(&wait));
        }
        metered.charge(direction, 0, 1);
        Ok(())
    }

    /// Takes a place among the connections; `None` without limits.
    ///
    /// # Errors
    /// `too_many_requests`.
    pub(crate) fn connect(&self) -> Result<Option<ConnectionPlace>, Error> {
        let Some(metered) = &self.0 else { return Ok(None) };
        let take = |account: &Arc<Account>| {
            Place::take(account).ok_or_else(|| {
                metered.limits.note("connections");
                let most = account.connections_max.load(Ordering::Relaxed);
                let owner = account.shown();
                let message = format!(
                    "{owner} has {most} requests for records and streams at the same time \
                     (connections in the limits file); close one of them, or try again later"
                );
                limited(Code::TooManyRequests, message, "connections", most, Some(TRY_AGAIN_S))
            })
        };
        let [principal, log] = &metered.accounts;
        Ok(Some(ConnectionPlace(Arc::new([take(principal)?, take(log)?]))))
    }

    /// Counts what was appended or is sent.
    pub(crate) fn charge(&self, direction: Direction, bytes: usize, requests: u64) {
        if let Some(metered) = &self.0 {
            metered.charge(direction, bytes as u64, requests);
        }
    }

    /// How long to wait before the next part; `None` for not at all.
    pub(crate) fn delay(&self, direction: Direction, part: Part) -> Option<Duration> {
        Some(self.0.as_ref()?.longest_wait(direction, part)?.time)
    }

    /// Counts the beginning of a wait, for the metrics.
    pub(crate) fn note_wait(&self, direction: Direction, part: Part) {
        if let Some(metered) = &self.0
            && let Some(wait) = metered.longest_wait(direction, part)
        {
            metered.limits.note(wait.limit);
        }
    }

    /// Waits until the next bytes may be sent or received. Cancel safe.
    pub(crate) async fn allowed(&self, direction: Direction) {
        let mut is_first = true;
        while let Some(delay) = self.delay(direction, Part::Bytes) {
            if std::mem::take(&mut is_first) {
                self.note_wait(direction, Part::Bytes);
            }
            tokio::time::sleep(delay.min(LOOK_AFTER)).await;
        }
    }

    /// Refuses an append if too much is stored.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(crate) fn check_stored(&self) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |metered| metered.check_stored())
    }

    /// How long a producer may wait for its bucket.
    pub(crate) fn patience(&self) -> Duration {
        self.0.as_ref().map_or(Duration::MAX, |metered| metered.limits.patience)
    }

    /// The error of somebody who has waited for too long.
    pub(crate) fn out_of_patience(&self, direction: Direction) -> Error {
        let wait = self.0.as_ref().and_then(|metered| {
            metered.longest_wait(direction, Part::Append).map(|wait| metered.refusal(&wait))
        });
        wait.unwrap_or_else(|| {
            let message = "a limit of this principal or log was reached; send more slowly";
            Error::new(Code::TooManyRequests, message)
        })
    }

    /// The largest part to read at a time: what flows into the bucket in a second.
    pub(crate) fn part_bytes(&self, bytes_max: usize) -> usize {
        const PART_BYTES_MIN: u64 = 4 << 10;
        let Some(metered) = &self.0 else { return bytes_max };
        let rates = metered.accounts.iter().map(|account| account.read_bytes.rate());
        let Some(rate) = rates.filter(|rate| *rate > 0).min() else { return bytes_max };
        bytes_max.min(usize::try_from(rate.max(PART_BYTES_MIN)).unwrap_or(usize::MAX))
    }
}

/// The longest wait for a bucket.
struct Wait<'a> {
    time: Duration,
    limit: &'static str,
    rate: u64,
    account: &'a Account,
}

impl Metered {
    fn longest_wait(&self, direction: Direction, part: Part) -> Option<Wait<'_>> {
        let now = self.limits.now();
        // Bytes are the first of the buckets.
        let buckets = match part {
            Part::Bytes => 1,
            Part::Append => 2,
        };
        let waits = self.accounts.iter().flat_map(|account| {
            let counted = account.buckets(direction).into_iter().take(buckets);
            counted.filter_map(move |(limit, bucket)| {
                let time = bucket.delay(now)?;
                Some(Wait { time, limit, rate: bucket.rate(), account })
            })
        });
        waits.max_by_key(|wait| wait.time)
    }

    fn charge(&self, direction: Direction, bytes: u64, requests: u64) {
        let now = self.limits.now();
        for account in &self.accounts {
            let [(_, of_bytes), (_, of_requests)] = account.buckets(direction);
            of_bytes.charge(now, bytes);
            of_requests.charge(now, requests);
        }
    }

    fn refusal(&self, wait: &Wait<'_>) -> Error {
        self.limits.note(wait.limit);
        let seconds = u32::try_from(wait.time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let (limit, rate) = (wait.limit, wait.rate);
        let (verb, unit) = match limit {
            "append_bytes" => ("append", "bytes"),
            "append_requests" => ("append with", "requests"),
            "read_bytes" => ("read", "bytes"),
            _ => ("read with", "requests"),
        };
        let message = match wait.account.owner {
            Owner::Principal => {
                let name = wait.account.shown();
                format!("{name} may {verb} {rate} {unit} a second ({limit} in the limits file)")
            }
            Owner::Log => format!(
                "everybody together may {verb} {rate} {unit} a second on {} ({limit} in the \
                 limits file)",
                wait.account.shown()
            ),
        };
        let message = format!("{message}; wait {seconds} s, and go on more slowly");
        limited(Code::TooManyRequests, message, limit, rate, Some(seconds))
    }
}

impl Account {
    fn buckets(&self, direction: Direction) -> [(&'static str, &Bucket); 2] {
        match direction {
            Direction::Append => {
                [("append_bytes", &self.append_bytes), ("append_requests", &self.append_requests)]
            }
            Direction::Read => {
                [("read_bytes", &self.read_bytes), ("read_requests", &self.read_requests)]
            }
        }
    }

    /// How messages name it.
    fn shown(&self) -> String {
        match (self.owner, self.name.is_empty()) {
            (Owner::Principal, false) => format!("the principal {}", self.name),
            (Owner::Log, false) => format!("the log {}", self.name),
            (Owner::Principal, true) => "a principal beyond the first 65,536".to_owned(),
            (Owner::Log, true) => "the logs beyond the first 65,536".to_owned(),
        }
    }
}

/// An error that names its limit and the value of it.
fn limited(
    code: Code,
    message: String,
    limit: &'static str,
    value: u64,
    retry_after: Option<u32>,
) -> Error {
    let error = Error::new(code, message).with_text("limit", limit).with("limit_value", value);
    Error { retry_after, ..error }
}

#[cfg(test)]
mod tests;
