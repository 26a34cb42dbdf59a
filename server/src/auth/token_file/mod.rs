//! [`TokenFile`]: `tokens.toml`, which the command line changes and the server reads.
//!
//! ```toml
//! [[token]]
//! name = "ci"
//! allow = ["append:orders-*", "read:*"]
//!
//! [[token.secret]]                # one, or two during a rotation
//! sha256 = "9f86…"
//! created = 2026-11-29T18:00:00Z
//! expires = 2026-12-29T18:00:00Z  # never without it
//!
//! [[token]]
//! name = "billing"
//! allow = ["append:invoices"]
//! certificate = "CN=billing"      # the subject of a client certificate, instead of secrets
//! ```
//!
//! Invariant: a file that parses is complete and has no ambiguous entry. A file with one
//! wrong entry is refused as a whole, because a token without one of its grants, or with an
//! older expiry, is a different token.

mod change;
mod text;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::grants::Grant;
use super::token::SecretHash;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most secrets of a token: the current one, and the older one during a rotation.
const SECRETS_MAX: usize = 2;

/// The content of a token file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFile {
    /// The tokens, in the order of the file.
    pub tokens: Vec<Token>,
}

/// An entry: a principal, how it proves that it is this principal, and its grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The principal's name, unique in the file: 1 to 255 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// Its grants.
    pub allow: Vec<Grant>,
    /// How it identifies itself.
    pub credential: Credential,
}

/// How a principal identifies itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// With one of these secrets; there are one or two.
    Secrets(Vec<StoredSecret>),
    /// With a client certificate that has this subject, until this time.
    Certificate {
        /// The subject, such as `CN=billing,O=Example`.
        subject: String,
        /// When the entry expires; `None` for never.
        expires: Option<Timestamp>,
    },
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The SHA-256 of its text.
    pub hash: SecretHash,
    /// When it was created.
    pub created: Timestamp,
    /// When it expires; `None` for never.
    pub expires: Option<Timestamp>,
}

/// Why a token file cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// A call of the system failed.
    #[error("cannot {doing} {path}: {source}{hint}")]
    Io {
        /// The operation that failed, such as "read".
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
        /// The remedy, with a separator before it; may be empty.
        hint: &'static str,
    },
    /// The content is wrong.
    #[error("{path} is not a valid token file: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The mistake, its place, and the remedy.
        reason: String,
    },
}

impl TokenFile {
    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read, or it is not valid.
    pub fn read(path: &Path) -> Result<Option<TokenFile>, TokenFileError> {
        let failed = |source: std::io::Error| {
            let hint = match source.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    " (it must be readable by the server's user)"
                }
                _ => "",
            };
            TokenFileError::Io { doing: "read", path: path.to_owned(), source, hint }
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(file, FILE_BYTES_MAX + 1);
        std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(failed)?;
        let content = |reason| TokenFileError::Content { path: path.to_owned(), reason };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(content(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| content("it is not UTF-8".to_owned()))?;
        text.parse().map(Some).map_err(content)
    }

    /// The token with this name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.name == name)
    }

    /// Checks what the syntax does not.
    fn check(&self) -> Result<(), String> {
        let (mut names, mut hashes, mut subjects) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for token in &self.tokens {
            check_name(&token.name)?;
            let name = &token.name;
            if !names.insert(name.as_str()) {
                return Err(format!("there are two tokens {name}; rename or remove one"));
            }
            match &token.credential {
                Credential::Secrets(secrets) => {
                    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
                        let count = secrets.len();
                        return Err(format!(
                            "token {name} has {count} secrets; it needs 1 or {SECRETS_MAX}, or a certificate"
                        ));
                    }
                    if !secrets.iter().all(|secret| hashes.insert(secret.hash)) {
                        return Err(format!("a secret of token {name} is there twice; remove one"));
                    }
                }
                Credential::Certificate { subject, .. } => {
                    if subject.trim().is_empty() {
                        return Err(format!(
                            "the certificate of token {name} is empty; use a subject, as in CN=billing"
                        ));
                    }
                    if !subjects.insert(subject.as_str()) {
                        return Err(format!("two tokens have the certificate {subject:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Token {
    /// Whether none of its secrets, or its certificate, is valid at this time any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// When the last secret, or the certificate's entry, expires; `None` for never.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        match &self.credential {
            Credential::Certificate { expires, .. } => *expires,
            Credential::Secrets(secrets) => {
                let last = secrets.iter().map(|secret| secret.expires.unwrap_or(Timestamp::MAX));
                last.max().filter(|last| *last < Timestamp::MAX)
            }
        }
    }
}

/// Checks the name of a token.
///
/// # Errors
/// The characters of a name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.parse::<styx_protocol::LogName>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(format!("the name {name:?} is not valid; use 1 to 255 letters, digits, _ and -"))
        }
    }
}
