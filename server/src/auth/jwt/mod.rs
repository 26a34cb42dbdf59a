//! [`Issuer`]: the rules for signed tokens (JWT), which an application makes for its clients.
//!
//! ```text
//! jwks_file ─▶ Keys ──────┐
//! token ─▶ size ─▶ kid ─▶ key ─▶ algorithm, signature ─▶ issuer, audience ─▶ times, grants ─▶ SignedToken
//! ```
//!
//! Invariants: the key decides which algorithms it verifies, never the token; there is no
//! algorithm with a shared secret; a claim is read only after the signature was verified.

mod claims;
mod files;
mod keys;
mod ring_provider;
mod signing_key;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};

use super::grants::Grants;
use crate::config::{Jwt, SigningAlgorithm};
pub use files::JwtFileError;
pub(super) use files::{JwtFiles, Revoked};
pub(super) use keys::{KeyId, Keys};
pub use signing_key::{SigningKey, SigningKeyError};

/// See the module.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) rules: Jwt,
    algorithms: Vec<Algorithm>,
}

/// The content of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedToken {
    /// The claim `sub`, which is the name of the principal.
    pub(super) subject: Arc<str>,
    pub(super) grants: Grants,
    /// The claim `exp`.
    pub(super) expires: Timestamp,
    /// The end of the leeway after `expires`.
    pub(super) valid_until: Timestamp,
    /// The key that signed it.
    pub(super) key: KeyId,
    /// The claim `jti`.
    pub(super) id: Option<Arc<str>>,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    /// Whether a key of the issuer signed it. Then its holder does not guess.
    pub(super) is_signed: bool,
}

impl Issuer {
    pub(super) fn new(rules: &Jwt) -> Issuer {
        ring_provider::install();
        let algorithms = rules.algorithms.iter().copied().map(algorithm).collect();
        Issuer { rules: rules.clone(), algorithms }
    }

    /// Parses a JWKS.
    ///
    /// # Errors
    /// The mistake and its place.
    pub(super) fn keys(&self, text: &str) -> Result<Keys, String> {
        Keys::parse(text, &self.algorithms)
    }

    /// Whether a text may be a signed token. No other token has a dot.
    pub(super) fn is_signed_token(text: &[u8]) -> bool {
        text.contains(&b'.')
    }

    /// Checks a token at this time.
    ///
    /// # Errors
    /// The token is not valid.
    pub(super) fn verify(
        &self,
        keys: &Keys,
        token: &[u8],
        now: Timestamp,
    ) -> Result<SignedToken, Refusal> {
        let forged = |why: &str| Refusal {
            message: format!("the signed token is not valid: {why}"),
            is_signed: false,
        };
        let size_max = self.rules.max_token_size;
        if token.len() > size_max {
            let why = format!("it is larger than auth.jwt.max_token_size, which is {size_max}");
            return Err(forged(&why));
        }
        let header = decode_header(token).map_err(|error| forged(malformed(error.kind())))?;
        let key = keys.find(header.kid.as_deref()).map_err(forged)?;
        let mut validation = Validation::new(header.alg);
        validation.algorithms.clone_from(&key.algorithms);
        // `claims` checks the times, because the library fails at a clock before 1970.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&self.rules.audience);
        let decoded = decode::<claims::Claims>(token, &key.key, &validation);
        let decoded = decoded.map_err(|error| self.refusal(error.kind()))?;
        claims::check(&self.rules, decoded.claims, key.id, now)
            .map_err(|message| Refusal { message, is_signed: true })
    }

    fn refusal(&self, kind: &ErrorKind) -> Refusal {
        let why = match kind {
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                format!("it has no usable claim {claim}")
            }
            ErrorKind::InvalidIssuer => {
                format!("its claim iss is not {:?}", self.rules.issuer)
            }
            ErrorKind::InvalidAudience => {
                format!("its claim aud is not {}", self.rules.audience.join(" or "))
            }
            other => {
                let message = format!("the signed token is not valid: {}", malformed(other));
                return Refusal { message, is_signed: false };
            }
        };
        Refusal { message: format!("the signed token is not valid: {why}"), is_signed: true }
    }
}

/// The message about a token that has expired.
pub(super) fn expiry_message(subject: &str, expires: Timestamp) -> String {
    claims::expired(subject, expires)
}

/// The fault of a token, found before its signature is verified.
fn malformed(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::InvalidKeyFormat
        | ErrorKind::MissingAlgorithm => "its algorithm is not one of its key",
        _ => {
            "it is not a JWT with a header, claims and a signature of an accepted algorithm, or a \
             part of it is missing"
        }
    }
}

fn algorithm(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Es384 => Algorithm::ES384,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Rs384 => Algorithm::RS384,
        SigningAlgorithm::Rs512 => Algorithm::RS512,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::Ps384 => Algorithm::PS384,
        SigningAlgorithm::Ps512 => Algorithm::PS512,
    }
}
