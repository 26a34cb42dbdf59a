//! [`Store`]: the current principals, and whether access control is on.
//!
//! ```text
//! tokens.toml ─ once a second: changed? ─▶ Snapshot, whole ─▶ requests, leases
//! ```
//!
//! Invariants: a request sees one snapshot; a file that is not valid changes nothing; access
//! control is never switched off. Without the file no token is valid, so removing it locks
//! everybody out.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use jiff::Timestamp;
use tokio::sync::watch;

use super::credentials::{CredentialCache, Presented};
use super::grants::{Action, Grants};
use super::throttle::Throttle;
use super::token::SecretHash;
use super::token_file::{Credential, TokenFile, TokenFileError};
use super::{Access, Secret};
use crate::Config;
use crate::session::Error;
use styx_protocol::Code;

/// How often the file and the expiry of tokens are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// For how many checks in a row the file must be missing before its tokens are invalid. An
/// editor that replaces the file may remove it for a moment.
const MISSING_CHECKS: u32 = 2;

/// Somebody who may use the server, identified by one secret or certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(super) name: Arc<str>,
    pub(super) grants: Grants,
    pub(super) identity: Identity,
    expires: Option<Timestamp>,
}

/// The proof that a principal gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Secret(SecretHash),
    Certificate(String),
}

/// The principals at one time. It is replaced as a whole.
#[derive(Debug, Default)]
struct Snapshot {
    is_on: bool,
    generation: u64,
    by_hash: HashMap<SecretHash, Arc<Principal>>,
    by_subject: HashMap<String, Arc<Principal>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    snapshot: RwLock<Arc<Snapshot>>,
    /// The generation of the snapshot. It also rises when a token expires.
    generation: watch::Sender<u64>,
    seen: Mutex<Seen>,
    throttle: Throttle,
}

/// The result of the last check of the file.
#[derive(Debug, Default)]
struct Seen {
    file: Option<FileVersion>,
    /// A change that a program may still be writing.
    unsettled: Option<FileVersion>,
    missing_checks: u32,
    checked_at: Option<Timestamp>,
}

impl Seen {
    /// Whether a program may be in the middle of writing the file. `styx token` replaces the
    /// file, but an editor may write into it, and half of a file has fewer tokens. So such a
    /// change counts when the next check finds the same.
    fn is_being_written(&mut self, found: Option<FileVersion>) -> bool {
        let place = |version: FileVersion| (version.device, version.inode);
        let is_same_file = self.file.map(place) == found.map(place);
        is_same_file && std::mem::replace(&mut self.unsettled, found) != found
    }
}

/// Changes whenever the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Store {
    /// Reads the token file. Access control is on if there is one, or if the configuration
    /// has a key of `[auth]`.
    ///
    /// # Errors
    /// The file exists but cannot be used: the server must not start with fewer rules than
    /// the operator wrote.
    pub(crate) fn open(config: &Config) -> Result<Arc<Store>, TokenFileError> {
        let path = config.token_file();
        let file = FileVersion::of(&path);
        let content = TokenFile::read(&path)?;
        warn_about_mode(&path);
        let is_on = config.auth.is_some() || content.is_some();
        match &content {
            Some(content) => {
                let (path, tokens) = (path.display(), content.tokens.len());
                tracing::info!(%path, tokens, "access control is on");
            }
            None if is_on => tracing::warn!(
                path = %path.display(),
                "access control is on, but there is no token file, so every request is refused; \
                 create a token with `styx token create`"
            ),
            None => {}
        }
        let snapshot = Snapshot::new(is_on, 0, &content.unwrap_or_default());
        let seen = Seen { file, ..Seen::default() };
        Ok(Arc::new(Store {
            path,
            snapshot: RwLock::new(Arc::new(snapshot)),
            generation: watch::Sender::new(0),
            seen: Mutex::new(seen),
            throttle: Throttle::default(),
        }))
    }

    /// Whether requests need a token.
    pub(crate) fn is_on(&self) -> bool {
        self.snapshot().is_on
    }

    /// Watches the file and the clock; never resolves.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let store = self.clone();
            // The file may be on a slow disk.
            if let Err(panic) = tokio::task::spawn_blocking(move || store.check()).await {
                tracing::error!("cannot check the token file because of a bug: {panic}");
            }
        }
    }

    /// Reads the file if it changed, and notes tokens that have expired since the last check.
    pub(super) fn check(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = FileVersion::of(&self.path);
        if found.is_none() {
            seen.missing_checks = seen.missing_checks.saturating_add(1);
            if seen.missing_checks == MISSING_CHECKS && seen.file.take().is_some() {
                tracing::error!(
                    path = %self.path.display(),
                    "the token file is gone: every token is invalid until it is back"
                );
                self.replace(&TokenFile::default());
            }
        } else if found != seen.file && !seen.is_being_written(found) {
            match TokenFile::read(&self.path) {
                Ok(Some(file)) => {
                    let was_on = self.is_on();
                    let (path, tokens) = (self.path.display(), file.tokens.len());
                    if was_on {
                        tracing::info!(%path, tokens, "the token file was read again");
                    } else {
                        tracing::warn!(%path, tokens, "there is a token file now: access control is on");
                    }
                    warn_about_mode(&self.path);
                    self.replace(&file);
                    (seen.file, seen.missing_checks) = (found, 0);
                }
                // It was removed just now; the next check sees that.
                Ok(None) => {}
                Err(error) => {
                    (seen.file, seen.missing_checks) = (found, 0);
                    let was_on = self.is_on();
                    tracing::error!("the tokens from before stay valid: {error}");
                    if !was_on {
                        // Its existence closes access, whatever is in it.
                        self.replace(&TokenFile::default());
                    }
                }
            }
        } else {
            seen.missing_checks = 0;
        }
        if found == seen.file {
            seen.unsettled = None;
        }
        let now = now();
        let before = seen.checked_at.replace(now).unwrap_or(now);
        if self.snapshot().has_expired_between(before, now) {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    fn replace(&self, file: &TokenFile) {
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let generation = *self.generation.borrow() + 1;
        *current = Arc::new(Snapshot::new(true, generation, file));
        drop(current);
        self.generation.send_replace(generation);
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rises whenever a principal may have become invalid or changed.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Whose request this is. A token that is not valid is an error, unless the route is
    /// public: then the caller is anonymous.
    pub(crate) fn identify(
        &self,
        presented: Presented,
        connection: Option<&CredentialCache>,
        is_public: bool,
    ) -> Result<Access, Error> {
        let snapshot = self.snapshot();
        if !snapshot.is_on {
            return Ok(Access::Off);
        }
        let invalid = match presented {
            Presented::Token(token) => match self.of_token(&snapshot, token, connection) {
                Ok(principal) if principal.is_valid() => return Ok(Access::Principal(principal)),
                Ok(_) if is_public => return Ok(Access::Anonymous),
                // Its holder knows the secret, so this is no guess.
                Ok(principal) => return Err(invalid_token(principal.expiry_message())),
                Err(message) => message,
            },
            Presented::Nothing => {
                let subject = connection.and_then(CredentialCache::certificate);
                let principal = subject.and_then(|subject| snapshot.by_subject.get(subject));
                return match principal.filter(|principal| principal.is_valid()) {
                    Some(principal) => Ok(Access::Principal(principal.clone())),
                    None => Ok(Access::Anonymous),
                };
            }
            Presented::InQuery => {
                "access_token is only accepted from an EventSource or a WebSocket; send the token \
                 in the header Authorization: Bearer TOKEN"
                    .to_owned()
            }
            Presented::Unusable => {
                "the request has no usable token; send one header Authorization: Bearer TOKEN"
                    .to_owned()
            }
        };
        if is_public {
            return Ok(Access::Anonymous);
        }
        match self.throttle.record(connection.and_then(|connection| connection.peer().ip())) {
            Some(seconds) => {
                let message = format!(
                    "too many requests with a token that is not valid came from this address; \
                     wait {seconds} s, and use a valid token"
                );
                let mut error = Error::new(Code::TooManyRequests, message);
                error.retry_after = Some(seconds);
                Err(error)
            }
            None => Err(invalid_token(invalid)),
        }
    }

    /// The principal of a token, which may have expired, or what is wrong with the token.
    fn of_token(
        &self,
        snapshot: &Snapshot,
        token: HeaderValue,
        connection: Option<&CredentialCache>,
    ) -> Result<Arc<Principal>, String> {
        let generation = snapshot.generation;
        let cached = connection.and_then(|connection| connection.get(&token, generation));
        let (principal, is_new) = match cached {
            Some(principal) => (principal, false),
            None => match snapshot.by_hash.get(&SecretHash::of(token.as_bytes())) {
                Some(principal) => (principal.clone(), true),
                None => {
                    let is_complete =
                        token.to_str().is_ok_and(|text| text.parse::<Secret>().is_ok());
                    return Err(match is_complete {
                        true => {
                            "the token is not valid; it was revoked, or belongs to another \
                                 server"
                        }
                        false => "the token is not valid: a part of it is missing or mistyped",
                    }
                    .to_owned());
                }
            },
        };
        if let Some(connection) = connection.filter(|_| is_new) {
            connection.put(token, generation, principal.clone());
        }
        Ok(principal)
    }

    /// The principal as it is now, with the identity that it once proved.
    ///
    /// # Errors
    /// It is no longer valid.
    pub(super) fn renewed(&self, principal: &Principal) -> Result<Arc<Principal>, Error> {
        let snapshot = self.snapshot();
        let found = match &principal.identity {
            Identity::Secret(hash) => snapshot.by_hash.get(hash),
            Identity::Certificate(subject) => snapshot.by_subject.get(subject),
        };
        let message = match found {
            Some(found) if found.is_valid() => return Ok(found.clone()),
            Some(found) => found.expiry_message(),
            None => format!("the token {} is no longer valid: it was revoked", principal.name),
        };
        Err(invalid_token(message))
    }
}

fn invalid_token(message: String) -> Error {
    Error { has_invalid_token: true, ..Error::new(Code::Unauthorized, message) }
}

impl Principal {
    fn is_valid(&self) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }

    fn expiry_message(&self) -> String {
        let expires = self.expires.map(|time| time.to_string()).unwrap_or_default();
        let name = &self.name;
        format!("the token {name} expired at {expires}; replace it with `styx token rotate {name}`")
    }

    pub(super) fn allows(&self, action: Action, log: &str) -> bool {
        self.grants.allows(action, log)
    }

    #[cfg(test)]
    pub(crate) fn with_grants(name: &str, grants: &[&str]) -> Arc<Principal> {
        let grants = grants.iter().map(|text| text.parse().expect("a grant")).collect();
        let identity = Identity::Certificate(name.to_owned());
        Arc::new(Principal {
            name: name.into(),
            grants: Grants::new(grants),
            identity,
            expires: None,
        })
    }
}

impl Snapshot {
    fn new(is_on: bool, generation: u64, file: &TokenFile) -> Snapshot {
        let mut snapshot = Snapshot { is_on, generation, ..Snapshot::default() };
        for token in &file.tokens {
            let principal = |identity, expires| {
                let (name, grants) = (token.name.as_str().into(), Grants::new(token.allow.clone()));
                Arc::new(Principal { name, grants, identity, expires })
            };
            match &token.credential {
                Credential::Secrets(secrets) => {
                    for secret in secrets {
                        let one = principal(Identity::Secret(secret.hash), secret.expires);
                        snapshot.by_hash.insert(secret.hash, one);
                    }
                }
                Credential::Certificate { subject, expires } => {
                    let one = principal(Identity::Certificate(subject.clone()), *expires);
                    snapshot.by_subject.insert(subject.clone(), one);
                }
            }
        }
        snapshot
    }

    fn has_expired_between(&self, before: Timestamp, now: Timestamp) -> bool {
        let all = self.by_hash.values().chain(self.by_subject.values());
        let mut expiries = all.filter_map(|principal| principal.expires);
        expiries.any(|expires| before < expires && expires <= now)
    }
}

impl FileVersion {
    fn of(path: &Path) -> Option<FileVersion> {
        let found = std::fs::metadata(path).ok()?;
        Some(FileVersion {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Whoever may write the file may do anything with the server.
fn warn_about_mode(path: &Path) {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    if let Ok(found) = std::fs::metadata(path)
        && found.mode() & WRITABLE_BY_OTHERS != 0
    {
        tracing::warn!(
            path = %path.display(),
            "other users can write the token file, and so give themselves every grant; \
             run chmod 600 on it"
        );
    }
}

/// The time of the system's clock, because tokens expire by it.
pub(super) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
