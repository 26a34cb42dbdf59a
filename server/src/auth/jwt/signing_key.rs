//! [`SigningKey`]: a key pair that signs tokens, for `styx token sign` and for tests.
//!
//! The server never has one: it only has public keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::ring_provider;

/// A private key for ES256. `Debug` does not show it.
pub struct SigningKey {
    pair: rcgen::KeyPair,
    x: String,
    y: String,
}

/// A text that is no signing key, or a key that cannot sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SigningKeyError(String);

impl SigningKey {
    /// A new key from the system's random generator.
    ///
    /// # Errors
    /// The system has no random generator.
    pub fn generate() -> Result<SigningKey, SigningKeyError> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        SigningKey::new(pair.map_err(|error| SigningKeyError(error.to_string()))?)
    }

    /// The key in a PEM file (PKCS #8).
    ///
    /// # Errors
    /// It is not a private key of the curve P-256.
    pub fn from_pem(text: &str) -> Result<SigningKey, SigningKeyError> {
        let pair = rcgen::KeyPair::from_pem(text).map_err(|error| {
            SigningKeyError(format!("it is not a private key in PEM (PKCS #8): {error}"))
        })?;
        SigningKey::new(pair)
    }

    fn new(pair: rcgen::KeyPair) -> Result<SigningKey, SigningKeyError> {
        let is_it = pair.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256);
        // An uncompressed point: 4, then both coordinates.
        let point = pair.public_key_raw().split_first().filter(|(first, _)| is_it && **first == 4);
        let halves = point.and_then(|(_, point)| point.split_at_checked(point.len() / 2));
        let Some((x, y)) = halves else {
            let message = "it is a key of another type; use one of the curve P-256 (ES256)";
            return Err(SigningKeyError(message.to_owned()));
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Ok(SigningKey { pair, x, y })
    }

    /// The private key in PEM (PKCS #8), which every JWT library reads.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// Its `kid`: the thumbprint of the public key (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> String {
        let (x, y) = (&self.x, &self.y);
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
    }

    /// The public key as a JWK, for the list `keys` of a JWKS.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y,
            "kid": self.kid(), "use": "sig", "alg": "ES256",
        })
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, claims: &Value) -> Result<String, SigningKeyError> {
        ring_provider::install();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid());
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        encode(&header, claims, &key).map_err(|error| SigningKeyError(error.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}
