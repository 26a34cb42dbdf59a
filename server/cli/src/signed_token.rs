//! `styx token keypair` and `styx token sign`: signed tokens without another program, for a
//! first try and for small setups. An application signs its tokens itself, with the same key.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use styx_server::auth::{Secret, SigningKey};
use styx_server::config::{Config, Jwt};

use crate::command_line::{Format, SignArguments};
use crate::failure::Failure;
use crate::{output, serve};

/// Creates a key pair: the private key in a new file, the public key in a JWKS.
pub(crate) fn create_key(key_path: &Path, jwks_path: &Path) -> Result<(), Failure> {
    let mut jwks = match std::fs::read_to_string(jwks_path) {
        Ok(text) => parse_jwks(&text, jwks_path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({ "keys": [] }),
        Err(error) => return Err(failed("read", jwks_path, &error)),
    };
    let key = SigningKey::generate().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(key_path);
    let mut file = file.map_err(|error| failed("create", key_path, &error))?;
    let written = file.write_all(key.to_pem().as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| failed("write", key_path, &error))?;
    if let Some(keys) = jwks.get_mut("keys").and_then(Value::as_array_mut) {
        keys.push(key.public_jwk());
    }
    replace(jwks_path, &format!("{jwks:#}\n"))
        .map_err(|error| failed("write", jwks_path, &error))?;
    eprintln!(
        "Created the private key {}, which signs tokens: keep it secret. The public key {} is in \
         {}, for auth.jwt.jwks_file of the server.",
        key_path.display(),
        key.kid(),
        jwks_path.display()
    );
    Ok(())
}

fn parse_jwks(text: &str, path: &Path) -> Result<Value, Failure> {
    let value = serde_json::from_str::<Value>(text).ok();
    value.filter(|value| value.get("keys").is_some_and(Value::is_array)).ok_or_else(|| {
        let path = path.display();
        Failure::Failed(format!("{path} is not a JWKS: it has no list \"keys\"; name another file"))
    })
}

/// Replaces the file as a whole, because a server may read it meanwhile.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

/// Signs a token and prints it.
pub(crate) fn sign(arguments: &SignArguments, format: Format) -> Result<(), Failure> {
    let rules = rules(arguments)?;
    let text = std::fs::read_to_string(&arguments.key)
        .map_err(|error| failed("read", &arguments.key, &error))?;
    let key = SigningKey::from_pem(&text).map_err(|error| {
        Failure::Failed(format!("cannot use {}: {error}", arguments.key.display()))
    })?;
    let now = Timestamp::now();
    let expires = arguments.expires.after(now)?;
    let allow: Vec<String> = arguments.allow.iter().map(ToString::to_string).collect();
    let id = Secret::generate().map_err(|error| Failure::Failed(error.to_string()))?;
    // A few of its random characters are enough for a name.
    let id: String = id.text().chars().skip(5).take(20).collect();
    let claims = json!({
        "iss": rules.issuer,
        "aud": rules.audience.first(),
        "sub": arguments.subject,
        "iat": now.as_second(),
        "exp": expires.as_second(),
        "jti": id,
        rules.grants_claim: allow,
    });
    let token = key.sign(&claims).map_err(|error| Failure::Failed(error.to_string()))?;
    eprintln!(
        "Signed a token of {} with the jti {id}, which expires {expires}.",
        arguments.subject
    );
    match format {
        Format::Text => output::print(&format!("{token}\n")),
        Format::Json => {
            let value = json!({ "token": token, "claims": claims });
            output::print(&format!("{value:#}\n"))
        }
    }
}

/// Issuer, audience and the claim of the grants: from the flags, or else from the
/// configuration of the server.
fn rules(arguments: &SignArguments) -> Result<Jwt, Failure> {
    let mut rules = Jwt::default();
    if let Some(config) = &arguments.config {
        let loaded = Config::load(Some(config), serve::environment(), &[])
            .map_err(|error| Failure::Failed(error.to_string()))?;
        rules = loaded.config.auth.and_then(|auth| auth.jwt).unwrap_or(rules);
    }
    if let Some(issuer) = &arguments.issuer {
        rules.issuer.clone_from(issuer);
    }
    if let Some(audience) = &arguments.audience {
        rules.audience = vec![audience.clone()];
    }
    if rules.issuer.is_empty() || rules.audience.is_empty() {
        let message = "say with --issuer and --audience what the server expects, or with --config \
                       where its [auth.jwt] is";
        return Err(Failure::Misuse(message.to_owned()));
    }
    Ok(rules)
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AlreadyExists => " (name a new file, because a key is never overwritten)",
        io::ErrorKind::NotFound => " (create it with `styx token keypair`)",
        _ => "",
    };
    Failure::Failed(format!("cannot {doing} {}: {error}{hint}", path.display()))
}
