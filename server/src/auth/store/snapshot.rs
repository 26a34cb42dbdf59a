//! [`Snapshot`]: all principals at one time.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::grants::Grants;
use super::super::jwt::{Keys, Revoked};
use super::super::token::SecretHash;
use super::super::token_file::{Credential, TokenFile};
use super::principal::{Identity, Principal};

/// The principals at one time. It is replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) is_on: bool,
    pub(super) generation: u64,
    pub(super) tokens: Arc<Tokens>,
    /// The keys of signed tokens.
    pub(super) keys: Arc<Keys>,
    /// The `jti` of signed tokens that are revoked.
    pub(super) revoked: Arc<Revoked>,
}

/// The principals of the token file.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) by_hash: HashMap<SecretHash, Arc<Principal>>,
    pub(super) by_subject: HashMap<String, Arc<Principal>>,
}

impl Tokens {
    pub(super) fn new(file: &TokenFile) -> Tokens {
        let mut tokens = Tokens::default();
        for token in &file.tokens {
            let principal = |identity, expires| {
                let (name, grants) = (token.name.as_str().into(), Grants::new(token.allow.clone()));
                Arc::new(Principal { name, grants, identity, expires })
            };
            match &token.credential {
                Credential::Secrets(secrets) => {
                    for secret in secrets {
                        let one = principal(Identity::Secret(secret.hash), secret.expires);
                        tokens.by_hash.insert(secret.hash, one);
                    }
                }
                Credential::Certificate { subject, expires } => {
                    let one = principal(Identity::Certificate(subject.clone()), *expires);
                    tokens.by_subject.insert(subject.clone(), one);
                }
            }
        }
        tokens
    }

    pub(super) fn has_expired_between(&self, before: Timestamp, now: Timestamp) -> bool {
        let all = self.by_hash.values().chain(self.by_subject.values());
        let mut expiries = all.filter_map(|principal| principal.expires);
        expiries.any(|expires| before < expires && expires <= now)
    }
}
