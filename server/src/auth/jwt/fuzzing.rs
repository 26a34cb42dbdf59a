//! Signed tokens and files of keys as functions of arbitrary bytes: nothing that was not signed
//! is accepted, and what was signed is a principal with a name.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Issuer, Keys, SigningKey};
use crate::config::Jwt;

/// The state that all inputs share, because it takes long to make.
struct Scene {
    issuer: Issuer,
    keys: Keys,
    signing: SigningKey,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let rules =
            Jwt { issuer: "app".to_owned(), audience: vec!["styx".to_owned()], ..Jwt::default() };
        let issuer = Issuer::new(&rules);
        let signing = SigningKey::generate().expect("random");
        let text = json!({ "keys": [signing.public_jwk()] }).to_string();
        let keys = issuer.keys(&text).expect("it has one key");
        Scene { issuer, keys, signing }
    })
}

/// See the module. The first byte chooses what the other bytes are.
pub(crate) fn jwt(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => never_accepted(bytes),
        1 => {
            // A header of its own, in front of claims and a signature that are right.
            let token = scene().signing.sign(&claims(&json!({}))).expect("it can sign");
            let (_, rest) = token.split_once('.').expect("three parts");
            never_accepted(&[bytes, b".", rest.as_bytes()].concat());
        }
        2 => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Ok(keys) = scene().issuer.keys(text) {
                assert!(keys.len() <= 64);
            }
        }
        _ => {
            let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
            signed(&value);
        }
    }
}

fn never_accepted(token: &[u8]) {
    let Scene { issuer, keys, .. } = scene();
    let refusal = issuer.verify(keys, token, now()).expect_err("nobody signed it");
    assert!(!refusal.is_signed, "{}", refusal.message);
}

/// Claims that were signed are accepted only if they are complete.
fn signed(claims: &Value) {
    let Scene { issuer, keys, signing } = scene();
    let token = signing.sign(&self::claims(claims)).expect("it can sign");
    let Ok(accepted) = issuer.verify(keys, token.as_bytes(), now()) else { return };
    assert!(!accepted.subject.is_empty() && accepted.expires <= accepted.valid_until);
    assert!(accepted.valid_until > now() && keys.contains(accepted.key));
}

/// These claims, in place of those of a valid token.
fn claims(changes: &Value) -> Value {
    let exp = now().as_second() + 60;
    let mut claims = json!({
        "iss": "app", "aud": "styx", "sub": "alice", "exp": exp, "styx_grants": ["read:a"],
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::MAX)
}
