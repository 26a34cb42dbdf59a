use std::net::{Ipv4Addr, SocketAddr};

use super::super::token_file::{StoredSecret, Token};
use super::*;
use crate::transport::{ConnectionInfo, PeerAddress};

/// A store whose token file is in a directory of its own, which is removed at the end.
struct Scene {
    directory: PathBuf,
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
        std::fs::write(config.token_file(), TokenFile { tokens }.to_string()).expect("written");
        let store = Store::open(&config).expect("the file is valid");
        Scene { directory, store }
    }

    fn rewrite(&self, tokens: Vec<Token>) {
        let text = TokenFile { tokens }.to_string();
        // Another size, so the change is seen within the resolution of the file's time.
        self.write(&format!("{text}# {:x}\n", text.len()));
        self.store.check();
        self.store.check();
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.store.path, text).expect("written");
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
    std::fs::rename(&whole, &scene.store.path).expect("replaced");
    scene.store.check();
    assert_eq!(name().as_deref(), Ok("replaced"));
}
