use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::super::Action;
use super::*;

/// The time of all tests.
const NOW: i64 = 1_800_000_000;
const NODE_CRYPTO: &str = include_str!("golden/node_crypto.json");

struct Scene {
    issuer: Issuer,
    signing: SigningKey,
    keys: Keys,
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn rules() -> Jwt {
    let leeway = std::time::Duration::from_secs(2);
    Jwt { issuer: "app".to_owned(), audience: vec!["styx".to_owned()], leeway, ..Jwt::default() }
}

fn set_of(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

impl Scene {
    fn new(rules: &Jwt) -> Scene {
        let signing = SigningKey::generate().expect("random");
        let issuer = Issuer::new(rules);
        let keys = issuer.keys(&set_of(&[signing.public_jwk()])).expect("a key");
        Scene { issuer, signing, keys }
    }

    fn verify(&self, token: &str) -> Result<SignedToken, Refusal> {
        self.issuer.verify(&self.keys, token.as_bytes(), now())
    }

    /// A valid token, in whose claims these are replaced; `null` removes one.
    fn sign(&self, changes: Value) -> String {
        self.signing.sign(&claims(changes)).expect("it can sign")
    }

    /// Checks that a token is refused with a message that has this part.
    #[track_caller]
    fn refuses(&self, token: &str, is_signed: bool, part: &str) {
        let refusal = self.verify(token).expect_err(token);
        assert!(refusal.message.contains(part), "{part:?} is missing: {}", refusal.message);
        assert_eq!(refusal.is_signed, is_signed, "{}", refusal.message);
    }
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "app", "aud": "styx", "sub": "alice", "exp": NOW + 60, "styx_grants": ["read:a-*"],
    });
    let object = claims.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(object.remove(name)),
            value => drop(object.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn token_says_who_its_holder_is_and_what_it_may_do() {
    let scene = Scene::new(&rules());
    for grants in [json!(["read:a-*", "append:b"]), json!("read:a-* append:b")] {
        let token =
            scene.sign(json!({ "styx_grants": grants, "jti": "7", "nbf": NOW, "iat": NOW }));
        let signed = scene.verify(&token).expect("it is valid");
        assert_eq!((&*signed.subject, signed.id.as_deref()), ("alice", Some("7")));
        assert_eq!(signed.expires.as_second(), NOW + 60);
        assert_eq!(signed.valid_until.as_second(), NOW + 62);
        assert!(signed.grants.allows(Action::Read, "a-1"));
        assert!(signed.grants.allows(Action::Append, "b"));
        assert!(!signed.grants.allows(Action::Append, "a-1"));
        assert!(scene.keys.contains(signed.key));
    }
    // Other claims and an audience of several services do not matter.
    let token = scene.sign(json!({ "aud": ["other", "styx"], "email": "a@b", "exp": NOW + 60 }));
    assert!(scene.verify(&token).is_ok());
    let token = scene.sign(json!({ "styx_grants": [], "exp": f64::from(1_800_000_060) + 0.5 }));
    let signed = scene.verify(&token).expect("it is valid");
    assert!(!signed.grants.sees("a-1"));
}

#[test]
fn claims_that_are_missing_or_wrong_refuse_a_token() {
    let scene = Scene::new(&rules());
    for (changes, part) in [
        (json!({ "exp": null }), "no usable claim exp"),
        (json!({ "sub": null }), "no usable claim sub"),
        (json!({ "iss": null }), "no usable claim iss"),
        (json!({ "aud": null }), "no usable claim aud"),
        (json!({ "iss": "other" }), "iss is not \"app\""),
        (json!({ "iss": ["app"] }), "iss is not a string"),
        (json!({ "iss": 1 }), "claim iss"),
        (json!({ "aud": "other" }), "aud is not styx"),
        (json!({ "aud": [] }), "aud is not styx"),
        (json!({ "aud": {"styx": 1} }), "claim aud"),
        (json!({ "exp": "tomorrow" }), "claim exp"),
        (json!({ "exp": 1e300 }), "claim exp"),
        (json!({ "exp": i64::MAX }), "exp must be a time"),
        (json!({ "nbf": "now" }), "nbf must be a time"),
        (json!({ "iat": [] }), "iat must be a time"),
        (json!({ "sub": "" }), "sub must be a string"),
        (json!({ "sub": "a b" }), "sub must be a string"),
        (json!({ "sub": "a\nb" }), "sub must be a string"),
        (json!({ "sub": "a".repeat(256) }), "sub must be a string"),
        (json!({ "jti": 7 }), "jti must be a string"),
        (json!({ "styx_grants": null }), "no claim styx_grants"),
        (json!({ "styx_grants": {} }), "must be a list of grants"),
        (json!({ "styx_grants": [1] }), "must be a list of grants"),
        (json!({ "styx_grants": ["read:a", "write:a"] }), "no action \"write\""),
        (json!({ "styx_grants": "read" }), "add the logs"),
    ] {
        scene.refuses(&scene.sign(changes), true, part);
    }
}

#[test]
fn times_are_compared_with_the_leeway() {
    let scene = Scene::new(&rules());
    let is_valid = |changes| scene.verify(&scene.sign(changes)).is_ok();
    assert!(is_valid(json!({ "exp": NOW - 1 })));
    assert!(!is_valid(json!({ "exp": NOW - 2 })));
    scene.refuses(&scene.sign(json!({ "exp": NOW - 2 })), true, "of alice expired at 2027-01-15");
    for claim in ["nbf", "iat"] {
        assert!(is_valid(json!({ claim: NOW + 2 })));
        scene.refuses(&scene.sign(json!({ claim: NOW + 3 })), true, "compare the clocks");
    }
    // A clock before 1970 is possible, and makes nothing valid that is not.
    let token = scene.sign(json!({}));
    let before_1970 = Timestamp::from_second(-5).expect("a time");
    let refusal = scene.issuer.verify(&scene.keys, token.as_bytes(), before_1970);
    assert!(refusal.expect_err("it lives too long").message.contains("max_lifetime"));
}

#[test]
fn lifetime_is_limited_from_the_time_of_issue_and_from_now() {
    let day = 86_400;
    let scene = Scene::new(&rules());
    assert!(scene.verify(&scene.sign(json!({ "exp": NOW + day }))).is_ok());
    let long = "auth.jwt.max_lifetime is 86400 s";
    scene.refuses(&scene.sign(json!({ "exp": NOW + day + 3 })), true, long);
    scene.refuses(&scene.sign(json!({ "exp": NOW + 60, "iat": NOW - day })), true, long);
    let unlimited = Jwt { max_lifetime: std::time::Duration::ZERO, ..rules() };
    let scene = Scene::new(&unlimited);
    assert!(scene.verify(&scene.sign(json!({ "exp": NOW + 1000 * day }))).is_ok());
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    let scene = Scene::new(&rules());
    let good = scene.sign(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let other = scene.sign(json!({ "sub": "mallory" }));
    let other_payload = other.split('.').nth(1).expect("a payload");
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        "é.é.é".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!("{good}="),
        format!("{header}.{payload}.{}", &signature[1..]),
        format!("{header}.{payload}.{signature}AA"),
        format!("{header}.{other_payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("[")),
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("[".repeat(4000))),
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("{\"a\":".repeat(1000))),
    ] {
        let refusal = scene.verify(&token).expect_err(&token);
        assert!(
            !refusal.is_signed && refusal.message.contains("not valid"),
            "{token}: {refusal:?}"
        );
    }
    assert!(scene.verify(&good).is_ok());
}

/// Deeply nested JSON in claims that are signed.
#[test]
fn nested_claims_are_refused_without_a_stack_overflow() {
    let scene = Scene::new(&Jwt { max_token_size: 64 << 10, ..rules() });
    let mut nested = json!(1);
    for _ in 0..120 {
        nested = json!([nested]);
    }
    assert!(scene.verify(&scene.sign(json!({ "deep": nested }))).is_ok());
    for _ in 0..10 {
        nested = json!([nested]);
    }
    scene.refuses(&scene.sign(json!({ "deep": nested })), false, "not a JWT");
}

#[test]
fn token_that_is_too_large_is_refused() {
    let scene = Scene::new(&rules());
    let token = scene.sign(json!({ "note": "x".repeat(8 << 10) }));
    scene.refuses(&token, false, "larger than auth.jwt.max_token_size, which is 8192");
}

#[test]
fn unsigned_tokens_and_shared_secrets_are_never_accepted() {
    let scene = Scene::new(&rules());
    let kid = scene.signing.kid();
    let payload = encoded(&claims(json!({})));
    for alg in ["none", "None", "NONE", ""] {
        for signature in ["", "AA"] {
            let header = encoded(&json!({ "alg": alg, "kid": kid }));
            scene.refuses(&format!("{header}.{payload}.{signature}"), false, "not a JWT");
        }
    }
    // The public key is no secret, so anyone can sign with it as a shared secret.
    let jwk = scene.signing.public_jwk();
    let raw =
        |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("text")).expect("bytes");
    let point = [vec![4], raw("x"), raw("y")].concat();
    for secret in
        [point, jwk.to_string().into_bytes(), set_of(std::slice::from_ref(&jwk)).into_bytes()]
    {
        let header = encoded(&json!({ "alg": "HS256", "kid": kid }));
        let message = format!("{header}.{payload}");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
        scene.refuses(&token, false, "its algorithm is not one of its key");
    }
    // Nor does a token bring a key.
    let mallory = SigningKey::generate().expect("random");
    for header in [
        json!({ "alg": "ES256", "jwk": mallory.public_jwk() }),
        json!({ "alg": "ES256", "jku": "http://localhost/keys", "kid": kid }),
        json!({ "alg": "ES256", "kid": kid, "crit": ["exp"] }),
    ] {
        let own = mallory.sign(&claims(json!({}))).expect("it can sign");
        let signature = own.rsplit('.').next().expect("a signature");
        let token = format!("{}.{payload}.{signature}", encoded(&header));
        assert!(!scene.verify(&token).expect_err("a foreign key").is_signed);
    }
}

#[test]
fn key_must_be_known_and_of_the_type_of_the_algorithm() {
    let scene = Scene::new(&rules());
    let other = SigningKey::generate().expect("random");
    let foreign = other.sign(&claims(json!({}))).expect("it can sign");
    scene.refuses(&foreign, false, "no key with its kid");
    // The header names a known key, but another one has signed.
    let parts: Vec<&str> = foreign.split('.').collect();
    let header = encoded(&json!({ "alg": "ES256", "kid": scene.signing.kid() }));
    scene.refuses(&format!("{header}.{}.{}", parts[1], parts[2]), false, "signature is wrong");
    for alg in ["RS256", "PS256", "EdDSA", "ES384"] {
        let header = encoded(&json!({ "alg": alg, "kid": scene.signing.kid() }));
        let token = format!("{header}.{}.{}", parts[1], parts[2]);
        scene.refuses(&token, false, "algorithm is not one of its key");
    }
    let without_kid = {
        let token = scene.sign(json!({}));
        let header = encoded(&json!({ "alg": "ES256" }));
        format!("{header}.{}", token.split_once('.').expect("parts").1)
    };
    // It was not signed so; with one key, the server looks at the signature.
    scene.refuses(&without_kid, false, "signature is wrong");
    let both = set_of(&[scene.signing.public_jwk(), other.public_jwk()]);
    let keys = scene.issuer.keys(&both).expect("two keys");
    let refusal = scene.issuer.verify(&keys, without_kid.as_bytes(), now()).expect_err("no kid");
    assert!(refusal.message.contains("has no kid"), "{}", refusal.message);
    assert!(scene.issuer.verify(&keys, foreign.as_bytes(), now()).is_ok());
}

/// Tokens and keys that Node.js has made, which another implementation has to accept.
#[test]
fn tokens_of_another_implementation_are_accepted_with_every_kind_of_key() {
    use SigningAlgorithm::{EdDsa, Es384, Ps512, Rs256};
    let golden: Value = serde_json::from_str(NODE_CRYPTO).expect("JSON");
    let rules = Jwt { max_lifetime: std::time::Duration::ZERO, ..rules() };
    let all = Jwt { algorithms: vec![EdDsa, Es384, Ps512, Rs256], ..rules.clone() };
    let issuer = Issuer::new(&all);
    let keys = issuer.keys(NODE_CRYPTO).expect("three keys");
    assert_eq!((keys.len(), keys.warnings.len()), (3, 0));
    let tokens = golden["tokens"].as_array().expect("a list");
    assert_eq!(tokens.len(), 4);
    for token in tokens {
        let (algorithm, text) = (&token[0], token[1].as_str().expect("text"));
        let signed = issuer.verify(&keys, text.as_bytes(), now());
        assert_eq!(signed.map(|signed| signed.subject.to_string()).as_deref(), Ok("alice"));
        let changed = text.replace("eyJpc3MiOiJhcHAi", "eyJpc3MiOiJhcHEi");
        assert!(issuer.verify(&keys, changed.as_bytes(), now()).is_err(), "{algorithm}");
        // By default, only RS256, ES256 and EdDSA are accepted.
        let issuer = Issuer::new(&rules);
        let keys = issuer.keys(NODE_CRYPTO).expect("two keys");
        assert_eq!(keys.len(), 2, "{:?}", keys.warnings);
        let is_accepted = issuer.verify(&keys, text.as_bytes(), now()).is_ok();
        assert_eq!(is_accepted, algorithm == "RS256" || algorithm == "EdDSA", "{algorithm}");
    }
}

#[test]
fn file_of_keys_with_a_mistake_is_refused_with_its_place() {
    let issuer = Issuer::new(&rules());
    let good = SigningKey::generate().expect("random").public_jwk();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        set_of(&[key])
    };
    let mut without_kid = good.clone();
    without_kid.as_object_mut().expect("an object").remove("kid");
    let mut no_y = good.clone();
    no_y.as_object_mut().expect("an object").remove("y");
    let short_rsa = json!({ "kty": "RSA", "kid": "r", "e": "AQAB", "n": "_".repeat(172) });
    for (text, part) in [
        (String::new(), "EOF"),
        ("{}".to_owned(), "no list of keys"),
        (json!([good]).to_string(), "no list of keys"),
        (set_of(&[json!("x")]), "key number 1 is not an object"),
        (set_of(&[json!({})]), "key number 1 has no kty"),
        (set_of(&[good.clone(), good.clone()]), "has the kid of another key"),
        (set_of(&[good.clone(), without_kid.clone()]), "key number 2 has no kid"),
        (with("d", json!("AA")), "is a private key, because it has the parameter d"),
        (set_of(&[json!({ "kty": "oct", "kid": "s", "k": "AA" })]), "key \"s\" is a shared secret"),
        (with("alg", json!("RS256")), "has the alg RS256, which its type cannot have"),
        (with("x", json!("AA")), "has a x of 1 bytes, and its curve has 32"),
        (with("x", json!("*")), "not base64url"),
        (set_of(&[no_y]), "has no y"),
        (set_of(&[short_rsa]), "has 1032 bits; an RSA key needs 2048 to 8192"),
        (set_of(&vec![good.clone(); 65]), "65 keys"),
        ("[".repeat(100_000), "recursion limit"),
    ] {
        let error = issuer.keys(&text).expect_err(&text);
        assert!(error.contains(part), "{part:?} is missing: {error}");
    }
    assert_eq!(issuer.keys(&set_of(&[without_kid])).map(|keys| keys.len()), Ok(1));
    assert_eq!(issuer.keys(&set_of(&[])).map(|keys| keys.len()), Ok(0));
}

#[test]
fn keys_for_other_purposes_are_ignored_with_a_warning() {
    let issuer = Issuer::new(&rules());
    let good = SigningKey::generate().expect("random").public_jwk();
    let other = |name: &str, value: Value| {
        let mut key = SigningKey::generate().expect("random").public_jwk();
        key[name] = value;
        key
    };
    let all = [
        good,
        other("use", json!("enc")),
        other("key_ops", json!(["encrypt"])),
        other("alg", json!("ECDH-ES")),
        json!({ "kty": "OKP", "kid": "x", "crv": "X25519", "x": "AA" }),
        json!({ "kty": "AKP", "kid": "pq", "pub": "AA" }),
        json!({ "kty": "EC", "kid": "p521", "crv": "P-521", "x": "AA", "y": "AA" }),
    ];
    let keys = issuer.keys(&set_of(&all)).expect("one key");
    assert_eq!((keys.len(), keys.warnings.len()), (1, all.len() - 1), "{:?}", keys.warnings);
}

#[test]
fn change_of_a_key_under_the_same_kid_is_another_key() {
    let scene = Scene::new(&rules());
    let signed = scene.verify(&scene.sign(json!({}))).expect("it is valid");
    let mut other = SigningKey::generate().expect("random").public_jwk();
    other["kid"] = scene.signing.public_jwk()["kid"].clone();
    let keys = scene.issuer.keys(&set_of(&[other])).expect("a key");
    assert!(!keys.contains(signed.key));
}

#[test]
fn signing_key_round_trips_as_pem_and_never_shows_itself() {
    let key = SigningKey::generate().expect("random");
    let again = SigningKey::from_pem(&key.to_pem()).expect("its own text");
    assert_eq!(again.public_jwk(), key.public_jwk());
    assert!(!format!("{key:?}").contains("PRIVATE"));
    for text in ["", "x", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"] {
        assert!(SigningKey::from_pem(text).is_err());
    }
}
