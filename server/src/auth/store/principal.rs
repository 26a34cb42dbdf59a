//! [`Principal`]: a user of the server.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::grants::{Action, Grants};
use super::super::jwt::{self, KeyId, Keys, Revoked, SignedToken};
use super::super::token::SecretHash;
use super::now;

/// A user of the server, identified by one secret, certificate or signed token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(in super::super) name: Arc<str>,
    pub(in super::super) grants: Grants,
    pub(in super::super) identity: Identity,
    /// When it is no longer valid.
    pub(in super::super) expires: Option<Timestamp>,
}

/// The proof that a principal gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Identity {
    Secret(SecretHash),
    Certificate(String),
    Signed {
        key: KeyId,
        id: Option<Arc<str>>,
        /// The claim `exp`, without the leeway.
        expires: Timestamp,
    },
}

impl Principal {
    pub(super) fn is_valid(&self) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }

    pub(super) fn expiry_message(&self) -> String {
        let name = &self.name;
        if let Identity::Signed { expires, .. } = self.identity {
            return jwt::expiry_message(name, expires);
        }
        let expires = self.expires.map(|time| time.to_string()).unwrap_or_default();
        format!("the token {name} expired at {expires}; replace it with `styx token rotate {name}`")
    }

    /// How to get a grant that is missing.
    pub(in super::super) fn advice_about(&self, grant: &str) -> String {
        match self.identity {
            Identity::Signed { .. } => format!("get one from its issuer that has {grant}"),
            _ => {
                format!("use another token, or create one with `styx token create --allow {grant}`")
            }
        }
    }

    pub(super) fn of_signed(token: SignedToken) -> Principal {
        let SignedToken { subject, grants, expires, valid_until, key, id } = token;
        let identity = Identity::Signed { key, id, expires };
        Principal { name: subject, grants, identity, expires: Some(valid_until) }
    }

    /// Why a signed token is invalid, although it was valid once.
    pub(super) fn revocation(&self, keys: &Keys, revoked: &Revoked) -> Option<String> {
        let Identity::Signed { key, id, .. } = &self.identity else { return None };
        let is_revoked = id.as_deref().is_some_and(|id| revoked.contains(id));
        let why = match (keys.contains(*key), is_revoked) {
            (true, false) => return None,
            (true, true) => "it was revoked",
            (false, _) => "the key that signed it was removed",
        };
        Some(format!("the signed token of {} is no longer valid: {why}", self.name))
    }

    pub(in super::super) fn allows(&self, action: Action, log: &str) -> bool {
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
