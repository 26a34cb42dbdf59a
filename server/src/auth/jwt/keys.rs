//! [`Keys`]: the public keys of the issuer, from a JWKS (RFC 7517).
//!
//! Keys for other purposes are ignored with a warning, because the file may be the one that
//! an identity provider publishes. Anything else that is wrong refuses the whole file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

/// Most keys in a file.
const KEYS_MAX: usize = 64;
const P256_BYTES: usize = 32;
const P384_BYTES: usize = 48;
const ED25519_BYTES: usize = 32;
/// From 2048 to 8192 bits, which is what ring verifies.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Parameters that only a private or shared key has.
const SECRET_PARAMETERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// The keys of a file; each `kid` only once.
#[derive(Debug, Default)]
pub(in super::super) struct Keys {
    keys: Vec<Key>,
    /// The keys that were ignored, with the reason.
    pub(in super::super) warnings: Vec<String>,
}

/// A public key that verifies tokens.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    pub(super) id: KeyId,
    pub(super) key: DecodingKey,
    /// The algorithms that it verifies: those of its type that the configuration accepts, or
    /// the one that the key names.
    pub(super) algorithms: Vec<Algorithm>,
}

/// The identity of a key, its `kid` and its algorithms. A change of one of them is another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct KeyId([u8; 32]);

impl Keys {
    pub(in super::super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether tokens of this key are valid.
    pub(in super::super) fn contains(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// The key of a token with this `kid`. A token without one needs a file with one key.
    pub(super) fn find(&self, kid: Option<&str>) -> Result<&Key, &'static str> {
        match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).ok_or(
                "this server has no key with its kid; the key was removed, or is of another issuer",
            ),
            (None, [only]) => Ok(only),
            (None, []) => Err("this server has no key for signed tokens"),
            (None, _) => Err("its header has no kid, and this server has several keys"),
        }
    }

    /// Parses a JWKS. A key verifies no algorithm that is not among `accepted`.
    pub(super) fn parse(text: &str, accepted: &[Algorithm]) -> Result<Keys, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let list = value.get("keys").and_then(Value::as_array);
        let list =
            list.ok_or("it has no list of keys, as in {\"keys\": [{\"kty\": \"EC\", …}]}")?;
        if list.len() > KEYS_MAX {
            return Err(format!("it has {} keys, and at most {KEYS_MAX} are read", list.len()));
        }
        let mut found = Keys::default();
        for (number, value) in (1..).zip(list) {
            let shown = shown(value, number);
            match key(value, accepted).map_err(|why| format!("{shown} {why}"))? {
                Parsed::Key(key) => {
                    let is_there = |other: &Key| other.kid == key.kid;
                    if key.kid.is_none() && list.len() > 1 {
                        return Err(format!("{shown} has no kid; only a single key may have none"));
                    }
                    if found.keys.iter().any(is_there) {
                        return Err(format!("{shown} has the kid of another key; rename one"));
                    }
                    found.keys.push(key);
                }
                Parsed::Ignored(why) => {
                    found.warnings.push(format!("{shown} is ignored: {why}"));
                }
            }
        }
        Ok(found)
    }
}

enum Parsed {
    Key(Key),
    Ignored(String),
}

/// How messages name a key.
fn shown(key: &Value, number: usize) -> String {
    match key.get("kid").and_then(Value::as_str) {
        Some(kid) => format!("key {:?}", kid.chars().take(100).collect::<String>()),
        None => format!("key number {number}"),
    }
}

fn key(value: &Value, accepted: &[Algorithm]) -> Result<Parsed, String> {
    let object = value.as_object().ok_or("is not an object")?;
    let kty = object.get("kty").and_then(Value::as_str).ok_or("has no kty")?;
    if kty == "oct" {
        return Err("is a shared secret, with which this server could sign tokens; use a key \
                    pair, and only its public key here"
            .to_owned());
    }
    if let Some(name) = SECRET_PARAMETERS.into_iter().find(|name| object.contains_key(*name)) {
        return Err(format!(
            "is a private key, because it has the parameter {name}; only public keys belong here, \
             so replace this key"
        ));
    }
    let jwk: Jwk = serde_json::from_value(value.clone())
        .map_err(|error| format!("is not a JWK: {}", first_line(&error.to_string())))?;
    if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return Ok(Parsed::Ignored("its use is not sig".to_owned()));
    }
    let operations = jwk.common.key_operations.as_ref();
    if operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return Ok(Parsed::Ignored("its key_ops has no verify".to_owned()));
    }
    let possible = match algorithms(&jwk.algorithm, object)? {
        Some(possible) => possible,
        None => {
            let why = "its type is not RSA, EC with P-256 or P-384, or OKP with Ed25519";
            return Ok(Parsed::Ignored(why.to_owned()));
        }
    };
    let named = jwk.common.key_algorithm.map(Algorithm::try_from);
    let wanted: Vec<Algorithm> = match named {
        None => possible.to_vec(),
        Some(Ok(named)) if possible.contains(&named) => vec![named],
        Some(Ok(named)) => {
            return Err(format!("has the alg {named:?}, which its type cannot have"));
        }
        Some(Err(_)) => return Ok(Parsed::Ignored("its alg is not one for signatures".to_owned())),
    };
    let algorithms: Vec<_> = wanted.into_iter().filter(|one| accepted.contains(one)).collect();
    if algorithms.is_empty() {
        let why = "auth.jwt.algorithms has none of its algorithms";
        return Ok(Parsed::Ignored(why.to_owned()));
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "is not valid".to_owned())?;
    let id = KeyId::new(object, &algorithms);
    Ok(Parsed::Key(Key { kid: jwk.common.key_id, id, key, algorithms }))
}

/// The algorithms that a key of this type verifies; `None` for a type that is not supported.
fn algorithms(
    parameters: &AlgorithmParameters,
    object: &Map<String, Value>,
) -> Result<Option<&'static [Algorithm]>, String> {
    let bytes = |name: &str, text: &str| {
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("has a {name} that is not base64url"))
    };
    let check = |name: &str, text: &str, expected: usize| {
        let found = bytes(name, text)?.len();
        let message = || format!("has a {name} of {found} bytes, and its curve has {expected}");
        if found == expected { Ok(()) } else { Err(message()) }
    };
    Ok(match parameters {
        AlgorithmParameters::EllipticCurve(point) => {
            let (length, algorithms): (_, &[_]) = match point.curve {
                EllipticCurve::P256 => (P256_BYTES, &[Algorithm::ES256]),
                EllipticCurve::P384 => (P384_BYTES, &[Algorithm::ES384]),
                _ => return Ok(None),
            };
            check("x", &point.x, length)?;
            check("y", &point.y, length)?;
            Some(algorithms)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            check("x", &pair.x, ED25519_BYTES)?;
            Some(&[Algorithm::EdDSA])
        }
        AlgorithmParameters::RSA(rsa) => {
            let length = bytes("n", &rsa.n)?.len();
            if !RSA_BYTES.contains(&length) {
                let bits = length * 8;
                return Err(format!("has {bits} bits; an RSA key needs 2048 to 8192"));
            }
            bytes("e", &rsa.e)?;
            Some(&[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ])
        }
        _ => {
            // A known type with a missing parameter looks like an unknown one.
            let required: &[&str] = match object.get("kty").and_then(Value::as_str) {
                Some("EC") => &["crv", "x", "y"],
                Some("OKP") => &["crv", "x"],
                Some("RSA") => &["n", "e"],
                _ => &[],
            };
            let is_text = |name: &&&str| !object.get(**name).is_some_and(Value::is_string);
            if let Some(name) = required.iter().find(is_text) {
                return Err(format!("has no {name}"));
            }
            None
        }
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl KeyId {
    fn new(key: &Map<String, Value>, algorithms: &[Algorithm]) -> KeyId {
        let mut context = Context::new(&SHA256);
        for name in ["kid", "kty", "crv", "x", "y", "n", "e"] {
            let value = key.get(name).map(Value::to_string).unwrap_or_default();
            context.update(&(value.len() as u64).to_be_bytes());
            context.update(value.as_bytes());
        }
        context.update(format!("{algorithms:?}").as_bytes());
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        KeyId(id)
    }
}
