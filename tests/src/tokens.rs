//! Tokens of a test's server, made with `styx token` as an operator does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{self, Done};
use crate::{Request, Scratch, Settings, TestServer, wait};

/// Runs `styx token ARGUMENTS` for the data directory.
#[must_use]
pub fn token(data: &Path, arguments: &[&str]) -> Done {
    let mut command = cli::styx(&["token"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STYX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--data-directory").arg(data);
    cli::run(command, b"")
}

/// Creates a token with these grants, and returns its secret.
///
/// # Panics
/// When that fails.
#[must_use]
#[track_caller]
pub fn create(data: &Path, name: &str, grants: &[&str]) -> String {
    create_with(data, name, grants, &[])
}

/// The same with further arguments.
///
/// # Panics
/// When that fails.
#[must_use]
#[track_caller]
pub fn create_with(data: &Path, name: &str, grants: &[&str], more: &[&str]) -> String {
    let mut arguments = vec!["create", "--name", name];
    arguments.extend(grants.iter().flat_map(|grant| ["--allow", grant]));
    arguments.extend(more);
    token(data, &arguments).expect_text().trim().to_owned()
}

/// Starts a server that has this administrator. Returns the secret too.
///
/// # Panics
/// When it does not start.
#[must_use]
#[track_caller]
pub fn start(settings: Settings) -> (TestServer, String) {
    let scratch = Arc::new(Scratch::new("server"));
    let secret = create(&scratch.join("data"), "admin", &["admin:*"]);
    let server = settings.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"));
    (server, secret)
}

/// The request with this token.
#[must_use]
pub fn with(request: Request, secret: &str) -> Request {
    request.header("Authorization", format!("Bearer {secret}"))
}

/// Waits until requests with this token get this status. It asks seldom, because wrong tokens
/// are throttled.
///
/// # Panics
/// When that takes longer than 10 s.
pub fn await_status(server: &TestServer, secret: &str, expected: u16) {
    wait::until_true("the server has read the tokens again", Duration::from_secs(10), || {
        let is_done = server.ask(&with(Request::get("/logs"), secret)).status() == expected;
        if !is_done {
            std::thread::sleep(Duration::from_millis(250));
        }
        is_done
    });
}

/// An issuer of signed tokens: its key pair and the files of the server's `[auth.jwt]`.
#[derive(Debug)]
pub struct Issuer {
    scratch: Arc<Scratch>,
}

impl Issuer {
    /// Makes a key pair in the directory of a server.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn new(scratch: &Arc<Scratch>) -> Issuer {
        let issuer = Issuer { scratch: scratch.clone() };
        issuer.add_key("signing-key.pem");
        scratch.write("revoked", "");
        issuer
    }

    /// Starts a server that accepts its tokens and no others.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(settings: Settings) -> (TestServer, Issuer) {
        let scratch = Arc::new(Scratch::new("server"));
        let issuer = Issuer::new(&scratch);
        let settings = settings.table(&issuer.table());
        let server = settings.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"));
        (server, issuer)
    }

    /// The table of the configuration.
    #[must_use]
    pub fn table(&self) -> String {
        let (keys, revoked) = (self.jwks(), self.scratch.join("revoked"));
        // Without `[auth]`, tests with tokens would get theirs.
        format!(
            "[auth]\n[auth.jwt]\njwks_file = {keys:?}\nissuer = \"app\"\naudience = \"styx\"\n\
             revoked_file = {revoked:?}\n"
        )
    }

    /// The file with the public keys.
    #[must_use]
    pub fn jwks(&self) -> std::path::PathBuf {
        self.scratch.join("keys.json")
    }

    /// Adds a key pair, whose private key is in this file.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn add_key(&self, name: &str) {
        let mut command = cli::styx(&["token", "keypair", "--key"]);
        command.arg(self.scratch.join(name)).arg("--jwks").arg(self.jwks());
        let _ = cli::run(command, b"").expect_ok();
    }

    /// A token with these grants, of the first key, that is valid for this time.
    #[must_use]
    #[track_caller]
    pub fn sign(&self, subject: &str, grants: &[&str], expires: &str) -> String {
        self.sign_with("signing-key.pem", subject, grants, expires).0
    }

    /// A token of the key in this file, and its `jti`.
    ///
    /// # Panics
    /// When it cannot be signed.
    #[must_use]
    #[track_caller]
    pub fn sign_with(
        &self,
        key: &str,
        subject: &str,
        grants: &[&str],
        expires: &str,
    ) -> (String, String) {
        let mut arguments =
            vec!["token", "sign", "--subject", subject, "--issuer", "app", "--audience", "styx"];
        arguments.extend(grants.iter().flat_map(|grant| ["--allow", grant]));
        arguments.extend(["--expires", expires, "-f", "json", "--key"]);
        let mut command = cli::styx(&arguments);
        command.arg(self.scratch.join(key));
        let json: serde_json::Value =
            serde_json::from_str(&cli::run(command, b"").expect_text()).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        (text(&json["token"]), text(&json["claims"]["jti"]))
    }
}
