use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::json;

use super::super::grants::Action;
use super::super::jwt::SigningKey;
use super::super::token_file::{Credential, StoredSecret, Token};
use super::*;
use crate::transport::{ConnectionInfo, PeerAddress};

/// A store whose token file is in a directory of its own, which is removed at the end.
struct Scene {
    directory: PathBuf,
    path: PathBuf,
    store: Arc<Store>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Scene {
    fn new(tokens: Vec<Token>) -> Scene {
        let name = format!("styx-store-{:x}", getrandom::u64().expect("random"));
        let directory = std::env::temp_dir().join(name);
        let mut config = Config::default();
        config.log_manager.data_directory = directory.clone();
        std::fs::create_dir(&directory).expect("a directory");
        let path = config.token_file();
        std::fs::write(&path, TokenFile { tokens }.to_string()).expect("written");
        let store = Store::open(&config).expect("the file is valid");
        Scene { directory, path, store }
    }

    fn rewrite(&self, tokens: Vec<Token>) {
        let text = TokenFile { tokens }.to_string();
        // Another size, so the change is seen within the resolution of the file's time.
        self.write(&format!("{text}# {:x}\n", text.len()));
        self.store.check();
        self.store.check();
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("written");
    }

    fn name(&self, presented: Presented, connection: &CredentialCache) -> Result<String, Error> {
        let access = self.store.identify(presented, Some(connection), false)?;
        Ok(access.name().to_owned())
    }
}

fn connection(subject: Option<&str>) -> CredentialCache {
    let peer = PeerAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let client_subject = subject.map(Arc::from);
    CredentialCache::new(Arc::new(ConnectionInfo { peer, is_tls: true, client_subject }))
}

fn token(name: &str, secret: &Secret, expires: Option<Timestamp>) -> Token {
    let stored = StoredSecret { hash: secret.hash(), created: now(), expires };
    let credential = Credential::Secrets(vec![stored]);
    Token { name: name.to_owned(), allow: Vec::new(), credential }
}

fn certificate(subject: &str, expires: Option<Timestamp>) -> Token {
    let credential = Credential::Certificate { subject: subject.to_owned(), expires };
    Token { name: "billing".to_owned(), allow: Vec::new(), credential }
}

fn presented(secret: &Secret) -> Presented {
    Presented::Token(HeaderValue::from_str(secret.text()).expect("text"))
}

fn secret() -> Secret {
    Secret::generate().expect("random")
}

#[tokio::test]
async fn certificate_is_a_principal_if_no_token_is_given() {
    let (good, wrong) = (secret(), secret());
    let scene = Scene::new(vec![token("ci", &good, None), certificate("CN=billing", None)]);
    let with = connection(Some("CN=billing"));
    assert_eq!(scene.name(Presented::Nothing, &with).expect("known"), "billing");
    assert_eq!(scene.name(presented(&good), &with).expect("known"), "ci");
    let error = scene.name(presented(&wrong), &with).expect_err("the token counts");
    assert_eq!((error.code, error.has_invalid_token), (Code::Unauthorized, true));
    for subject in [None, Some("CN=billing,O=x"), Some("CN=Billing"), Some("")] {
        let name = scene.name(Presented::Nothing, &connection(subject)).expect("nobody");
        assert_eq!(name, "anonymous", "{subject:?}");
    }
    let past = Timestamp::UNIX_EPOCH;
    scene.rewrite(vec![certificate("CN=billing", Some(past))]);
    assert_eq!(scene.name(Presented::Nothing, &with).expect("nobody"), "anonymous");
}

#[tokio::test]
async fn connection_remembers_a_token_only_while_it_is_valid() {
    let (one, other) = (secret(), secret());
    let scene = Scene::new(vec![token("one", &one, None), token("other", &other, None)]);
    let connection = connection(None);
    for _ in 0..2 {
        assert_eq!(scene.name(presented(&one), &connection).expect("valid"), "one");
        assert_eq!(scene.name(presented(&other), &connection).expect("valid"), "other");
    }
    assert_eq!(scene.name(presented(&one), &connection).expect("valid"), "one");
    scene.rewrite(vec![token("other", &other, None)]);
    let error = scene.name(presented(&one), &connection).expect_err("revoked");
    assert!(error.message.contains("revoked"), "{error}");
    // It expires although nothing changes.
    let soon = now().checked_add(std::time::Duration::from_millis(50)).expect("a time");
    scene.rewrite(vec![token("one", &one, Some(soon))]);
    assert_eq!(scene.name(presented(&one), &connection).expect("valid"), "one");
    std::thread::sleep(Duration::from_millis(60));
    // Its holder does not guess, so it is not throttled.
    for _ in 0..50 {
        let error = scene.name(presented(&one), &connection).expect_err("expired");
        assert_eq!((error.code, error.has_invalid_token), (Code::Unauthorized, true));
        assert!(error.message.contains("the token one expired at"), "{error}");
    }
}

#[tokio::test]
async fn waiting_leases_are_woken_by_an_expiry_and_by_nothing_else() {
    let one = secret();
    let soon = now().checked_add(std::time::Duration::from_millis(50)).expect("a time");
    let scene = Scene::new(vec![token("one", &one, Some(soon))]);
    let mut generations = scene.store.generations();
    scene.store.check();
    assert!(!generations.has_changed().expect("the store exists"));
    std::thread::sleep(Duration::from_millis(60));
    scene.store.check();
    assert!(generations.has_changed().expect("the store exists"));
    generations.borrow_and_update();
    scene.store.check();
    assert!(!generations.has_changed().expect("the store exists"));
}

#[tokio::test]
async fn public_routes_ignore_a_wrong_token() {
    let scene = Scene::new(vec![token("one", &secret(), None)]);
    for presented in [presented(&secret()), Presented::Unusable, Presented::InQuery] {
        let access = scene.store.identify(presented, Some(&connection(None)), true);
        assert_eq!(access.expect("anonymous").name(), "anonymous");
    }
}

#[tokio::test]
async fn store_without_a_file_is_off_and_with_a_key_closed() {
    let mut config = Config::default();
    config.log_manager.data_directory = std::env::temp_dir().join("styx-no-such-directory");
    let store = Store::open(&config).expect("nothing to read");
    let access = store.identify(Presented::Nothing, None, false).expect("off");
    assert!(matches!(access, Access::Off));
    config.auth = Some(crate::config::Auth::default());
    let store = Store::open(&config).expect("nothing to read");
    let access = store.identify(Presented::Nothing, None, false).expect("closed");
    assert!(matches!(access, Access::Anonymous));
    assert_eq!(
        store.identify(presented(&secret()), None, false).expect_err("no token").code,
        Code::Unauthorized
    );
}

#[tokio::test]
async fn file_that_is_being_written_is_read_when_it_has_settled() {
    let secret = secret();
    let text = |name| TokenFile { tokens: vec![token(name, &secret, None)] }.to_string();
    let scene = Scene::new(vec![token("before", &secret, None)]);
    let name = || scene.name(presented(&secret), &connection(None)).map_err(|e| e.message);
    // An editor empties the file, and then writes it.
    scene.write("");
    scene.store.check();
    assert_eq!(name().as_deref(), Ok("before"));
    scene.write(&text("afterwards"));
    scene.store.check();
    assert_eq!(name().as_deref(), Ok("before"));
    scene.store.check();
    assert_eq!(name().as_deref(), Ok("afterwards"));
    // A file that replaces it is whole.
    let whole = scene.directory.join("whole");
    std::fs::write(&whole, text("replaced")).expect("written");
    std::fs::rename(&whole, &scene.path).expect("replaced");
    scene.store.check();
    assert_eq!(name().as_deref(), Ok("replaced"));
}

/// A store with the keys and the revoked tokens of `[auth.jwt]`, and no token file.
struct SignedScene {
    scene: Scene,
    signing: SigningKey,
}

impl SignedScene {
    fn new() -> SignedScene {
        let name = format!("styx-store-{:x}", getrandom::u64().expect("random"));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a directory");
        let signing = SigningKey::generate().expect("random");
        let path = directory.join("keys.json");
        std::fs::write(&path, keys_of(&[&signing])).expect("written");
        std::fs::write(directory.join("revoked"), "# none\n").expect("written");
        let mut config = Config::default();
        config.log_manager.data_directory = directory.clone();
        let jwt = crate::config::Jwt {
            jwks_file: path.clone(),
            issuer: "app".to_owned(),
            audience: vec!["styx".to_owned()],
            leeway: Duration::ZERO,
            revoked_file: Some(directory.join("revoked")),
            ..crate::config::Jwt::default()
        };
        config.auth = Some(crate::config::Auth { token_file: None, jwt: Some(jwt) });
        let store = Store::open(&config).expect("the files are valid");
        SignedScene { scene: Scene { directory, path, store }, signing }
    }

    fn token(&self, id: &str, lifetime_ms: i64) -> Presented {
        let exp = (now().as_millisecond() + lifetime_ms).div_euclid(1000);
        let claims = json!({
            "iss": "app", "aud": "styx", "sub": "alice", "exp": exp, "jti": id,
            "styx_grants": ["read:a"],
        });
        let text = self.signing.sign(&claims).expect("it can sign");
        Presented::Token(HeaderValue::from_str(&text).expect("text"))
    }

    fn principal(&self, token: Presented) -> Result<Arc<Principal>, Error> {
        match self.scene.store.identify(token, Some(&connection(None)), false)? {
            Access::Principal(principal) => Ok(principal),
            other => panic!("{other:?}"),
        }
    }

    /// Replaces a file and lets the server notice.
    fn replace(&self, name: &str, text: &str) {
        let temporary = self.scene.directory.join("new");
        std::fs::write(&temporary, text).expect("written");
        std::fs::rename(&temporary, self.scene.directory.join(name)).expect("replaced");
        self.scene.store.check();
    }
}

fn keys_of(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn key_that_is_removed_makes_its_tokens_invalid_and_a_broken_file_changes_nothing() {
    let signed = SignedScene::new();
    let store = &signed.scene.store;
    let alice = signed.principal(signed.token("1", 60_000)).expect("it is valid");
    assert!(alice.allows(Action::Read, "a") && &*alice.name == "alice");
    for broken in ["", "{}", "{\"keys\": [{}]}"] {
        signed.replace("keys.json", broken);
        assert!(store.renewed(&alice).is_ok(), "{broken}");
    }
    let next = SigningKey::generate().expect("random");
    signed.replace("keys.json", &keys_of(&[&next, &signed.signing]));
    assert!(store.renewed(&alice).is_ok(), "both keys are valid during a rotation");
    signed.replace("keys.json", &keys_of(&[&next]));
    let error = store.renewed(&alice).expect_err("its key is gone");
    assert!(error.has_invalid_token && error.message.contains("key that signed it was removed"));
    assert!(signed.principal(signed.token("1", 60_000)).is_err());
    signed.replace("keys.json", &keys_of(&[&signed.signing]));
    assert!(signed.principal(signed.token("1", 60_000)).is_ok());
    // Without the file, no key is valid.
    std::fs::remove_file(&signed.scene.path).expect("removed");
    store.check();
    assert!(store.renewed(&alice).is_ok(), "an editor may replace the file");
    store.check();
    assert!(store.renewed(&alice).is_err());
}

#[tokio::test]
async fn signed_token_is_revoked_by_its_jti() {
    let signed = SignedScene::new();
    let store = &signed.scene.store;
    let (one, other) = (signed.token("1", 60_000), signed.token("2", 60_000));
    let alice = signed.principal(one).expect("it is valid");
    signed.replace("revoked", "# lost on Monday\n 1 \n\n");
    let error = store.renewed(&alice).expect_err("revoked");
    assert!(error.message.contains("of alice is no longer valid: it was revoked"), "{error}");
    // Its holder does not guess, so it is not throttled.
    for _ in 0..50 {
        let error = signed.principal(signed.token("1", 60_000)).expect_err("revoked");
        assert_eq!(error.code, Code::Unauthorized);
    }
    let other = signed.principal(other).expect("another token");
    // A list that is lost revokes what it revoked before.
    std::fs::remove_file(signed.scene.directory.join("revoked")).expect("removed");
    for _ in 0..3 {
        store.check();
        assert!(store.renewed(&alice).is_err() && store.renewed(&other).is_ok());
    }
}

#[tokio::test]
async fn waiting_leases_are_woken_when_a_signed_token_expires() {
    let signed = SignedScene::new();
    let store = &signed.scene.store;
    let alice = signed.principal(signed.token("1", 3_000)).expect("it is valid");
    let bob = signed.principal(signed.token("2", 60_000)).expect("it is valid");
    let mut generations = store.generations();
    store.note_expiry(&bob);
    store.note_expiry(&alice);
    store.check();
    assert!(!generations.has_changed().expect("the store exists"));
    while alice.expires.is_some_and(|expires| now() < expires) {
        std::thread::sleep(Duration::from_millis(10));
    }
    store.check();
    assert!(generations.has_changed().expect("the store exists"));
    generations.borrow_and_update();
    let error = store.renewed(&alice).expect_err("expired");
    assert!(error.message.contains("the signed token of alice expired at"), "{error}");
    assert!(store.renewed(&bob).is_ok());
    store.note_expiry(&bob);
    store.check();
    assert!(!generations.has_changed().expect("the store exists"));
}

#[tokio::test]
async fn forged_signed_tokens_are_throttled_like_wrong_secrets() {
    let signed = SignedScene::new();
    let forged = || Presented::Token(HeaderValue::from_static("e30.e30.AA"));
    let codes: Vec<_> =
        (0..40).map(|_| signed.principal(forged()).expect_err("forged").code).collect();
    assert_eq!(codes[0], Code::Unauthorized);
    assert_eq!(codes[39], Code::TooManyRequests);
    assert!(signed.principal(signed.token("1", 60_000)).is_ok());
    // On a public route, it is as good as none.
    let access = signed.scene.store.identify(forged(), Some(&connection(None)), true);
    assert_eq!(access.expect("anonymous").name(), "anonymous");
}

#[tokio::test]
async fn server_does_not_start_without_the_files_of_signed_tokens() {
    let signed = SignedScene::new();
    for name in ["keys.json", "revoked"] {
        let mut config = Config::default();
        config.log_manager.data_directory = signed.scene.directory.clone();
        let path = |own: &str| match own == name {
            true => signed.scene.directory.join("none"),
            false => signed.scene.directory.join(own),
        };
        let jwt = crate::config::Jwt {
            jwks_file: path("keys.json"),
            revoked_file: Some(path("revoked")),
            ..crate::config::Jwt::default()
        };
        config.auth = Some(crate::config::Auth { token_file: None, jwt: Some(jwt) });
        let error = Store::open(&config).expect_err(name).to_string();
        assert!(error.contains("cannot use auth.jwt.") && error.contains("/none"), "{error}");
    }
}
