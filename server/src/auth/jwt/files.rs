//! [`JwtFiles`]: the files of `[auth.jwt]`, which are read again when they change.
//!
//! | file | broken | gone |
//! |---|---|---|
//! | `jwks_file` | the keys from before stay valid | no key is valid |
//! | `revoked_file` | the list from before stays valid | the list from before stays valid |

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Issuer, Keys};
use crate::watched_file::{Look, WatchedFile, read_text};

/// Largest file with keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// Largest file with the `jti` of revoked tokens.
const REVOKED_BYTES_MAX: u64 = 4 << 20;

/// The `jti` of revoked tokens.
pub(in super::super) type Revoked = HashSet<Box<str>>;

/// A file of `[auth.jwt]` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {key} {path}: {reason}")]
pub struct JwtFileError {
    /// The key of the configuration.
    key: &'static str,
    /// The file.
    path: PathBuf,
    /// The mistake, and its place.
    reason: String,
}

/// See the module.
#[derive(Debug)]
pub(in super::super) struct JwtFiles {
    keys: WatchedFile,
    revoked: Option<WatchedFile>,
}

/// The content of the files. A part that has not changed is `None`.
#[derive(Debug, Default)]
pub(in super::super) struct Contents {
    pub(in super::super) keys: Option<Arc<Keys>>,
    pub(in super::super) revoked: Option<Arc<Revoked>>,
}

impl JwtFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is missing or cannot be used: the server must not start with other rules than
    /// the operator wrote.
    pub(in super::super) fn open(issuer: &Issuer) -> Result<(JwtFiles, Contents), JwtFileError> {
        let files = JwtFiles {
            keys: WatchedFile::new(issuer.rules.jwks_file.clone()),
            revoked: issuer.rules.revoked_file.clone().map(WatchedFile::new),
        };
        let keys = Arc::new(keys(&files.keys, issuer)?);
        let revoked = files.revoked.as_ref().map(revoked).transpose()?.map(Arc::new);
        announce(&files.keys, &keys);
        Ok((files, Contents { keys: Some(keys), revoked }))
    }

    /// Reads the files that have changed; with `is_asked`, both.
    pub(in super::super) fn check(&mut self, issuer: &Issuer, is_asked: bool) -> Contents {
        let mut contents = Contents::default();
        match self.keys.look(is_asked) {
            Look::Same => {}
            Look::Gone => {
                let path = self.keys.path().display();
                tracing::error!(%path, "the file of keys is gone: every signed token is invalid until it is back");
                contents.keys = Some(Arc::default());
            }
            Look::Changed => {
                self.keys.was_read();
                match keys(&self.keys, issuer) {
                    Ok(keys) => {
                        announce(&self.keys, &keys);
                        contents.keys = Some(Arc::new(keys));
                    }
                    Err(error) => tracing::error!("the keys from before stay valid: {error}"),
                }
            }
        }
        let Some(file) = &mut self.revoked else { return contents };
        match file.look(is_asked) {
            Look::Same => {}
            Look::Gone => {
                let path = file.path().display();
                tracing::error!(%path, "the file of revoked tokens is gone: those from before stay revoked");
            }
            Look::Changed => {
                file.was_read();
                match revoked(file) {
                    Ok(revoked) => {
                        let (path, tokens) = (file.path().display(), revoked.len());
                        tracing::info!(%path, tokens, "the file of revoked tokens was read again");
                        contents.revoked = Some(Arc::new(revoked));
                    }
                    Err(error) => {
                        tracing::error!("the tokens revoked before stay revoked: {error}");
                    }
                }
            }
        }
        contents
    }
}

fn announce(file: &WatchedFile, keys: &Keys) {
    let (path, count) = (file.path().display(), keys.len());
    for warning in &keys.warnings {
        tracing::warn!(%path, "{warning}");
    }
    tracing::info!(%path, keys = count, "signed tokens of these keys are accepted");
}

fn keys(file: &WatchedFile, issuer: &Issuer) -> Result<Keys, JwtFileError> {
    let of = error("auth.jwt.jwks_file", file);
    let text = read_text(file.path(), KEYS_BYTES_MAX).map_err(|error| of(error.to_string()))?;
    issuer.keys(&text).map_err(of)
}

fn revoked(file: &WatchedFile) -> Result<Revoked, JwtFileError> {
    let of = error("auth.jwt.revoked_file", file);
    let text = read_text(file.path(), REVOKED_BYTES_MAX).map_err(|error| of(error.to_string()))?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Box::from).collect())
}

fn error(key: &'static str, file: &WatchedFile) -> impl Fn(String) -> JwtFileError {
    let path = file.path().to_owned();
    move |reason| JwtFileError { key, path: path.clone(), reason }
}
