//! [`Store`]: the current principals, and whether access control is on.
//!
//! ```text
//! tokens.toml, files of [auth.jwt] ─ once a second: changed? ─▶ Snapshot, whole ─▶ requests, leases
//! ```
//!
//! Invariants: a request sees one snapshot; a file that is not valid changes nothing; access
//! control is never switched off. Without the file no token is valid, so removing it locks
//! everybody out.

mod principal;
mod snapshot;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use jiff::Timestamp;
use tokio::sync::watch;

use super::credentials::{CredentialCache, Presented};
use super::jwt::{Issuer, JwtFiles};
use super::throttle::Throttle;
use super::token::SecretHash;
use super::token_file::TokenFile;
use super::{Access, Secret};
use crate::Config;
use crate::session::Error;
use crate::watched_file::{Look, WatchedFile};
use styx_protocol::Code;

pub(super) use principal::Identity;
pub(crate) use principal::Principal;
use snapshot::{Snapshot, Tokens};

/// How often the file and the expiry of tokens are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    snapshot: RwLock<Arc<Snapshot>>,
    /// The generation of the snapshot. It also rises when a token expires.
    generation: watch::Sender<u64>,
    seen: Mutex<Seen>,
    /// The rules for signed tokens; `None` if they are refused.
    issuer: Option<Issuer>,
    /// The earliest expiry of a signed token with a waiting lease, in milliseconds.
    next_expiry: AtomicI64,
    throttle: Throttle,
}

/// The files, and the last check of them.
#[derive(Debug)]
struct Seen {
    tokens: WatchedFile,
    jwt: Option<JwtFiles>,
    checked_at: Option<Timestamp>,
}

impl Store {
    /// Reads the token file and the files of `[auth.jwt]`. Access control is on if there is a
    /// token file, or if the configuration has a key of `[auth]`.
    ///
    /// # Errors
    /// A file exists but cannot be used: the server must not start with fewer rules than
    /// the operator wrote.
    pub(crate) fn open(config: &Config) -> Result<Arc<Store>, crate::Error> {
        let tokens = WatchedFile::new(config.token_file());
        let path = tokens.path();
        let content = TokenFile::read(path)?;
        warn_about_mode(path);
        let jwt = config.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
        let is_on = config.auth.is_some() || content.is_some();
        match &content {
            Some(content) => {
                let (path, tokens) = (path.display(), content.tokens.len());
                tracing::info!(%path, tokens, "access control is on");
            }
            None if jwt.is_some() => tracing::info!("access control is on, for signed tokens"),
            None if is_on => tracing::warn!(
                path = %path.display(),
                "access control is on, but there is no token file, so every request is refused; \
                 create a token with `styx token create`"
            ),
            None => {}
        }
        let mut snapshot = Snapshot { is_on, ..Snapshot::default() };
        snapshot.tokens = Arc::new(Tokens::new(&content.unwrap_or_default()));
        let issuer = jwt.map(Issuer::new);
        let mut seen = Seen { tokens, jwt: None, checked_at: None };
        if let Some(issuer) = &issuer {
            let (files, contents) = JwtFiles::open(issuer)?;
            seen.jwt = Some(files);
            snapshot.keys = contents.keys.unwrap_or_default();
            snapshot.revoked = contents.revoked.unwrap_or_default();
        }
        Ok(Arc::new(Store {
            snapshot: RwLock::new(Arc::new(snapshot)),
            generation: watch::Sender::new(0),
            seen: Mutex::new(seen),
            issuer,
            next_expiry: AtomicI64::new(i64::MAX),
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
            // The files may be on a slow disk.
            if let Err(panic) = tokio::task::spawn_blocking(move || store.check()).await {
                tracing::error!("cannot check the files of tokens because of a bug: {panic}");
            }
        }
    }

    /// Whether there are files that only a server with `[auth.jwt]` has.
    pub(crate) fn has_keys(&self) -> bool {
        self.issuer.is_some()
    }

    /// Reads all files again, because the operator says that they have changed.
    pub(crate) fn reload(&self) {
        self.check_files(true);
    }

    /// Reads the files that changed, and notes tokens that have expired since the last check.
    pub(super) fn check(&self) {
        self.check_files(false);
    }

    fn check_files(&self, is_asked: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.tokens.look(is_asked) {
            Look::Same => {}
            Look::Gone => {
                tracing::error!(
                    path = %seen.tokens.path().display(),
                    "the token file is gone: every token in it is invalid until it is back"
                );
                self.replace_tokens(&TokenFile::default());
            }
            Look::Changed => self.read_tokens(&mut seen.tokens),
        }
        if let (Some(files), Some(issuer)) = (&mut seen.jwt, &self.issuer) {
            let contents = files.check(issuer, is_asked);
            if contents.keys.is_some() || contents.revoked.is_some() {
                self.replace(|snapshot| {
                    snapshot.keys = contents.keys.unwrap_or(snapshot.keys.clone());
                    snapshot.revoked = contents.revoked.unwrap_or(snapshot.revoked.clone());
                });
            }
        }
        let now = now();
        let before = seen.checked_at.replace(now).unwrap_or(now);
        let has_expired = self.next_expiry.load(Ordering::SeqCst) <= now.as_millisecond();
        if has_expired {
            // Leases that still wait note their expiry again.
            self.next_expiry.store(i64::MAX, Ordering::SeqCst);
        }
        if has_expired || self.snapshot().tokens.has_expired_between(before, now) {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    fn read_tokens(&self, watched: &mut WatchedFile) {
        match TokenFile::read(watched.path()) {
            Ok(Some(file)) => {
                let was_on = self.is_on();
                let (path, tokens) = (watched.path().display(), file.tokens.len());
                if was_on {
                    tracing::info!(%path, tokens, "the token file was read again");
                } else {
                    tracing::warn!(%path, tokens, "there is a token file now: access control is on");
                }
                warn_about_mode(watched.path());
                self.replace_tokens(&file);
                watched.was_read();
            }
            // It was removed just now; the next check sees that.
            Ok(None) => {}
            Err(error) => {
                watched.was_read();
                let was_on = self.is_on();
                tracing::error!("the tokens from before stay valid: {error}");
                if !was_on {
                    // Its existence closes access, whatever is in it.
                    self.replace_tokens(&TokenFile::default());
                }
            }
        }
    }

    fn replace_tokens(&self, file: &TokenFile) {
        self.replace(|snapshot| snapshot.tokens = Arc::new(Tokens::new(file)));
    }

    /// Publishes a changed snapshot. From now on, access control is on.
    fn replace(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let generation = *self.generation.borrow() + 1;
        let mut next = Snapshot {
            is_on: true,
            generation,
            tokens: current.tokens.clone(),
            keys: current.keys.clone(),
            revoked: current.revoked.clone(),
        };
        change(&mut next);
        *current = Arc::new(next);
        drop(current);
        self.generation.send_replace(generation);
    }

    /// Makes the generation rise when this principal expires. Principals of the token file
    /// need no note. Call it before the check that precedes a wait.
    pub(super) fn note_expiry(&self, principal: &Principal) {
        if let (Identity::Signed { .. }, Some(expires)) = (&principal.identity, principal.expires) {
            self.next_expiry.fetch_min(expires.as_millisecond(), Ordering::SeqCst);
        }
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
                Ok(_) | Err(NoPrincipal::NotAllowed(_)) if is_public => {
                    return Ok(Access::Anonymous);
                }
                // Its holder knows the secret, so this is no guess.
                Ok(principal) => return Err(invalid_token(principal.expiry_message())),
                Err(NoPrincipal::NotAllowed(message)) => return Err(invalid_token(message)),
                Err(NoPrincipal::Unknown(message)) => message,
            },
            Presented::Nothing => {
                let subject = connection.and_then(CredentialCache::certificate);
                let principal = subject.and_then(|subject| snapshot.tokens.by_subject.get(subject));
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

    /// The principal of a token, which may have expired.
    fn of_token(
        &self,
        snapshot: &Snapshot,
        token: HeaderValue,
        connection: Option<&CredentialCache>,
    ) -> Result<Arc<Principal>, NoPrincipal> {
        let generation = snapshot.generation;
        let cached = connection.and_then(|connection| connection.get(&token, generation));
        let (principal, is_new) = match cached {
            Some(principal) => (principal, false),
            None if Issuer::is_signed_token(token.as_bytes()) => {
                (self.of_signed_token(snapshot, token.as_bytes())?, true)
            }
            None => match snapshot.tokens.by_hash.get(&SecretHash::of(token.as_bytes())) {
                Some(principal) => (principal.clone(), true),
                None => {
                    let is_complete =
                        token.to_str().is_ok_and(|text| text.parse::<Secret>().is_ok());
                    let message = match is_complete {
                        true => {
                            "the token is not valid; it was revoked, or belongs to another \
                                 server"
                        }
                        false => "the token is not valid: a part of it is missing or mistyped",
                    };
                    return Err(NoPrincipal::Unknown(message.to_owned()));
                }
            },
        };
        if let Some(connection) = connection.filter(|_| is_new) {
            connection.put(token, generation, principal.clone());
        }
        Ok(principal)
    }

    /// The principal of a signed token.
    fn of_signed_token(
        &self,
        snapshot: &Snapshot,
        token: &[u8],
    ) -> Result<Arc<Principal>, NoPrincipal> {
        let Some(issuer) = &self.issuer else {
            let message = "the token looks like a signed token (JWT), and this server accepts \
                           none, because its configuration has no [auth.jwt]";
            return Err(NoPrincipal::Unknown(message.to_owned()));
        };
        let signed =
            issuer.verify(&snapshot.keys, token, now()).map_err(|refusal| {
                match refusal.is_signed {
                    true => NoPrincipal::NotAllowed(refusal.message),
                    false => NoPrincipal::Unknown(refusal.message),
                }
            })?;
        let principal = Principal::of_signed(signed);
        match principal.revocation(&snapshot.keys, &snapshot.revoked) {
            Some(message) => Err(NoPrincipal::NotAllowed(message)),
            None => Ok(Arc::new(principal)),
        }
    }

    /// The principal as it is now, with the identity that it once proved.
    ///
    /// # Errors
    /// It is no longer valid.
    pub(super) fn renewed(&self, principal: &Arc<Principal>) -> Result<Arc<Principal>, Error> {
        let snapshot = self.snapshot();
        let found = match &principal.identity {
            Identity::Secret(hash) => snapshot.tokens.by_hash.get(hash),
            Identity::Certificate(subject) => snapshot.tokens.by_subject.get(subject),
            // Its grants are those of the token, for ever.
            Identity::Signed { .. } => {
                match principal.revocation(&snapshot.keys, &snapshot.revoked) {
                    Some(message) => return Err(invalid_token(message)),
                    None => Some(principal),
                }
            }
        };
        let message = match found {
            Some(found) if found.is_valid() => return Ok(found.clone()),
            Some(found) => found.expiry_message(),
            None => format!("the token {} is no longer valid: it was revoked", principal.name),
        };
        Err(invalid_token(message))
    }
}

/// Why a token has no principal.
enum NoPrincipal {
    /// Its holder may be guessing.
    Unknown(String),
    /// The token is genuine, but it is not valid, or no longer.
    NotAllowed(String),
}

fn invalid_token(message: String) -> Error {
    Error { has_invalid_token: true, ..Error::new(Code::Unauthorized, message) }
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
