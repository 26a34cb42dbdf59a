//! `[auth.jwt]`: which signed tokens are accepted.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// `[auth.jwt]`. A loaded configuration has a file of keys, an issuer and an audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The public keys of the issuer, as a JWKS.
    pub jwks_file: PathBuf,
    /// The only accepted claim `iss`.
    pub issuer: String,
    /// The names of this server: the claim `aud` must have one of them.
    pub audience: Vec<String>,
    /// The accepted algorithms.
    pub algorithms: Vec<SigningAlgorithm>,
    /// How far the clocks of the issuer and of this server may differ.
    pub leeway: Duration,
    /// The claim with the grants.
    pub grants_claim: String,
    /// Largest token.
    pub max_token_size: usize,
    /// Longest time for which a token may be valid; zero for no limit.
    pub max_lifetime: Duration,
    /// The `jti` of tokens that are revoked before they expire.
    pub revoked_file: Option<PathBuf>,
}

impl Default for Jwt {
    fn default() -> Jwt {
        use SigningAlgorithm::{EdDsa, Es256, Rs256};
        Jwt {
            jwks_file: PathBuf::new(),
            issuer: String::new(),
            audience: Vec::new(),
            algorithms: vec![Es256, EdDsa, Rs256],
            leeway: Duration::from_secs(1),
            grants_claim: "styx_grants".to_owned(),
            max_token_size: 8 << 10,
            max_lifetime: Duration::from_secs(86_400),
            revoked_file: None,
        }
    }
}

impl Jwt {
    /// The key that is missing, and what to set it to.
    pub(super) fn missing(&self) -> Option<(&'static str, &'static str)> {
        if self.jwks_file.as_os_str().is_empty() {
            let accepted = "set it to a file with the public keys of the tokens' issuer (JWKS)";
            return Some(("auth.jwt.jwks_file", accepted));
        }
        if self.issuer.is_empty() {
            return Some(("auth.jwt.issuer", "set it to the claim iss of the tokens"));
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            let accepted = "set it to a name of this server, which the tokens have as claim aud, so \
                            that tokens for other services are refused";
            return Some(("auth.jwt.audience", accepted));
        }
        None
    }
}

/// An algorithm with a public key. There is none with a shared secret: whoever could check a
/// token could then sign one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they have the names of RFC 7518 and RFC 8037")]
pub enum SigningAlgorithm {
    Es256,
    Es384,
    EdDsa,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
}

impl SigningAlgorithm {
    const NAMES: [(SigningAlgorithm, &'static str); 9] = [
        (SigningAlgorithm::Es256, "ES256"),
        (SigningAlgorithm::Es384, "ES384"),
        (SigningAlgorithm::EdDsa, "EdDSA"),
        (SigningAlgorithm::Rs256, "RS256"),
        (SigningAlgorithm::Rs384, "RS384"),
        (SigningAlgorithm::Rs512, "RS512"),
        (SigningAlgorithm::Ps256, "PS256"),
        (SigningAlgorithm::Ps384, "PS384"),
        (SigningAlgorithm::Ps512, "PS512"),
    ];
}

impl FromStr for SigningAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<SigningAlgorithm, String> {
        let found = SigningAlgorithm::NAMES.into_iter().find(|(_, name)| *name == text);
        found.map(|(algorithm, _)| algorithm).ok_or_else(|| match text {
            "HS256" | "HS384" | "HS512" => format!(
                "{text} is not accepted, because its secret would let this server sign tokens; use \
                 ES256, EdDSA or RS256"
            ),
            _ => "use ES256, ES384, EdDSA, RS256, RS384, RS512, PS256, PS384 or PS512".to_owned(),
        })
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = SigningAlgorithm::NAMES.into_iter().find(|(known, _)| known == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}
