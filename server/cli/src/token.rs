//! `styx token …`: creates, lists, revokes and rotates tokens, in the file that the server
//! reads. It works with and without a running server.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use styx_server::auth::{Credential, Secret, StoredSecret, Token, TokenFile, TokenFileError};
use styx_server::config::Config;

use crate::command_line::{Format, TokenCommand, TokenFileArguments};
use crate::failure::Failure;
use crate::{output, serve, signed_token, table};

/// Runs one of the commands.
pub(crate) fn run(command: TokenCommand, format: Format) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { file, name, allow, expires, certificate } => {
            let path = path(&file)?;
            let now = Timestamp::now();
            let expires = expires.after(now)?;
            let had_file = path.exists();
            let secret = match certificate {
                Some(subject) => {
                    let credential = Credential::Certificate { subject, expires };
                    add(&path, Token { name: name.clone(), allow, credential })?;
                    None
                }
                None => {
                    let (secret, stored) = new_secret(now, expires)?;
                    let credential = Credential::Secrets(vec![stored]);
                    add(&path, Token { name: name.clone(), allow, credential })?;
                    Some(secret)
                }
            };
            if !had_file {
                eprintln!(
                    "Access control is on now, because {} exists: every request needs a token.",
                    path.display()
                );
            }
            let until = shown(expires);
            eprintln!("Created token {name}, which expires {until}.");
            print_secret(&name, secret.as_ref(), expires, format)
        }
        TokenCommand::List { file } => list(&path(&file)?, format),
        TokenCommand::Revoke { file, name } => {
            let path = path(&file)?;
            change(&path, &name, |file, at| {
                file.tokens.remove(at);
                Ok(())
            })?;
            eprintln!("Revoked token {name}. A running server ends its streams within 5 s.");
            Ok(())
        }
        TokenCommand::Rotate { file, name, finish: true, .. } => {
            let path = path(&file)?;
            change(&path, &name, finish)?;
            eprintln!("The older secret of token {name} is no longer valid.");
            Ok(())
        }
        TokenCommand::Rotate { file, name, grace, expires, finish: false } => {
            let path = path(&file)?;
            let now = Timestamp::now();
            let given = expires.map(|expires| expires.after(now)).transpose()?;
            let rotated = change(&path, &name, |file, at| rotate(file, at, now, grace, given))?;
            let Rotated { secret, expires, older_until } = rotated;
            eprintln!(
                "Token {name} has a new secret, which expires {}. The older one is valid until \
                 {older_until}, or until `styx token rotate {name} --finish`.",
                shown(expires)
            );
            print_secret(&name, Some(&secret), expires, format)
        }
        TokenCommand::Keypair { key, jwks } => signed_token::create_key(&key, &jwks),
        TokenCommand::Sign(arguments) => signed_token::sign(&arguments, format),
    }
}

/// The token file of the server that has this configuration.
fn path(arguments: &TokenFileArguments) -> Result<PathBuf, Failure> {
    let directory = arguments.data_directory.clone();
    let flags = directory.map(|text| ("log_manager.data_directory".to_owned(), text));
    let flags: Vec<_> = flags.into_iter().collect();
    let loaded = Config::load(arguments.config.as_deref(), serve::environment(), &flags)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(loaded.config.token_file())
}

fn new_secret(
    created: Timestamp,
    expires: Option<Timestamp>,
) -> Result<(Secret, StoredSecret), Failure> {
    let secret = Secret::generate()
        .map_err(|error| Failure::Failed(format!("cannot make a secret: {error}")))?;
    let stored = StoredSecret { hash: secret.hash(), created, expires };
    Ok((secret, stored))
}

fn add(path: &Path, token: Token) -> Result<(), Failure> {
    TokenFile::change(path, |file| {
        let name = &token.name;
        if file.token(name).is_some() {
            return Err(Failure::Failed(format!(
                "{} has a token {name} already; choose another name, or use `styx token rotate \
                 {name}` or `styx token revoke {name}`",
                path.display()
            )));
        }
        file.tokens.push(token);
        Ok(())
    })
}

/// Changes a token of the file. `work` gets the token's index.
fn change<T>(
    path: &Path,
    name: &str,
    work: impl FnOnce(&mut TokenFile, usize) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let missing = || {
        let path = path.display();
        Failure::Failed(format!(
            "{path} has no token {name:?}; `styx token list` shows those that it has"
        ))
    };
    // Without a file, nothing must be created.
    if TokenFile::read(path)?.is_none() {
        return Err(missing());
    }
    TokenFile::change(path, |file| {
        let at = file.tokens.iter().position(|token| token.name == name).ok_or_else(missing)?;
        work(file, at)
    })
}

/// The secrets of the token at this index.
fn secrets(file: &mut TokenFile, at: usize) -> Result<&mut Vec<StoredSecret>, Failure> {
    match file.tokens.get_mut(at).map(|token| &mut token.credential) {
        Some(Credential::Secrets(secrets)) => Ok(secrets),
        _ => {
            let message = "it identifies itself with a certificate, so it has no secret to rotate";
            Err(Failure::Failed(message.to_owned()))
        }
    }
}

/// The result of a rotation.
struct Rotated {
    secret: Secret,
    expires: Option<Timestamp>,
    older_until: Timestamp,
}

fn rotate(
    file: &mut TokenFile,
    at: usize,
    now: Timestamp,
    grace: Lifetime,
    given: Option<Option<Timestamp>>,
) -> Result<Rotated, Failure> {
    let secrets = secrets(file, at)?;
    secrets.retain(|secret| secret.expires.is_none_or(|expires| expires > now));
    Ok(match secrets.as_mut_slice() {
        [_, _, ..] => {
            let message = "it has two valid secrets already; replace the older one everywhere, \
                           and run `styx token rotate NAME --finish` first";
            return Err(Failure::Failed(message.to_owned()));
        }
        [older] => {
            let lifetime = older.expires.map(|expires| expires.duration_since(older.created));
            let expires = match (given, lifetime) {
                (Some(given), _) => given,
                (None, None) => None,
                (None, Some(lifetime)) => Some(later(now, lifetime)?),
            };
            let end = later(now, grace.0)?;
            let older_until = older.expires.map_or(end, |expires| expires.min(end));
            older.expires = Some(older_until);
            let (secret, stored) = new_secret(now, expires)?;
            secrets.push(stored);
            Rotated { secret, expires, older_until }
        }
        [] => {
            let Some(expires) = given else {
                let message = "its secret has expired; say with --expires when the new one does";
                return Err(Failure::Failed(message.to_owned()));
            };
            let (secret, stored) = new_secret(now, expires)?;
            secrets.push(stored);
            Rotated { secret, expires, older_until: now }
        }
    })
}

/// Removes the older of two secrets.
fn finish(file: &mut TokenFile, at: usize) -> Result<(), Failure> {
    let secrets = secrets(file, at)?;
    if secrets.len() < 2 {
        let message = "it has one secret, so no rotation has to be finished";
        return Err(Failure::Failed(message.to_owned()));
    }
    let newest = secrets.iter().map(|secret| secret.created).max();
    secrets.retain(|secret| Some(secret.created) == newest);
    secrets.truncate(1);
    Ok(())
}

/// Prints the secret to standard output, and nothing else.
fn print_secret(
    name: &str,
    secret: Option<&Secret>,
    expires: Option<Timestamp>,
    format: Format,
) -> Result<(), Failure> {
    let secret = secret.map(Secret::text);
    match (format, secret) {
        (Format::Text, None) => Ok(()),
        (Format::Text, Some(secret)) => output::print(&format!("{secret}\n")),
        (Format::Json, secret) => {
            let expires = expires.map(|time| time.to_string());
            let value = json!({ "name": name, "secret": secret, "expires": expires });
            output::print(&format!("{value:#}\n"))
        }
    }
}

fn list(path: &Path, format: Format) -> Result<(), Failure> {
    let file = TokenFile::read(path)?.ok_or_else(|| {
        let path = path.display();
        Failure::Failed(format!(
            "there is no token file {path}; create a token with `styx token create`, or name the \
             server's directory with --data-directory or --config"
        ))
    })?;
    let now = Timestamp::now();
    match format {
        Format::Text => output::print(&table::rows(&text_rows(&file, now))),
        Format::Json => {
            let tokens: Vec<Value> = file.tokens.iter().map(|token| as_json(token, now)).collect();
            output::print(&format!("{:#}\n", Value::Array(tokens)))
        }
    }
}

fn text_rows(file: &TokenFile, now: Timestamp) -> Vec<Vec<String>> {
    let mut rows =
        vec![["NAME", "STATUS", "EXPIRES", "CREDENTIAL", "ALLOW"].map(str::to_owned).to_vec()];
    for token in &file.tokens {
        let credential = match &token.credential {
            Credential::Certificate { subject, .. } => format!("certificate {subject}"),
            Credential::Secrets(secrets) if secrets.len() > 1 => "two secrets".to_owned(),
            Credential::Secrets(_) => "secret".to_owned(),
        };
        let allow: Vec<String> = token.allow.iter().map(ToString::to_string).collect();
        let (status, expires) = (status(token, now), shown(token.expires()));
        rows.push(vec![
            token.name.clone(),
            status.to_owned(),
            expires,
            credential,
            allow.join(" "),
        ]);
    }
    rows
}

fn as_json(token: &Token, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let allow: Vec<String> = token.allow.iter().map(ToString::to_string).collect();
    let mut value = json!({
        "name": token.name,
        "status": status(token, now),
        "allow": allow,
        "expires": time(token.expires()),
    });
    match &token.credential {
        Credential::Certificate { subject, .. } => value["certificate"] = json!(subject),
        Credential::Secrets(secrets) => {
            let secrets = secrets.iter().map(|secret| {
                json!({ "created": secret.created.to_string(), "expires": time(secret.expires) })
            });
            value["secrets"] = secrets.collect();
        }
    }
    value
}

fn status(token: &Token, now: Timestamp) -> &'static str {
    if token.is_expired(now) { "expired" } else { "valid" }
}

fn shown(expires: Option<Timestamp>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match expires {
        None => write!(text, "never"),
        // Fractions of a second help nobody.
        Some(time) => write!(text, "{}", whole_second(time)),
    };
    text
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn later(time: Timestamp, by: SignedDuration) -> Result<Timestamp, Failure> {
    let sum = time.checked_add(by).ok().filter(|time| *time < Timestamp::MAX);
    sum.map(whole_second)
        .ok_or_else(|| Failure::Misuse("the time of expiry is too far away; use never".to_owned()))
}

/// A time span such as `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) SignedDuration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Lifetime, String> {
        const ACCEPTED: &str = "use a number and s, m, h, d, w or y, as in 12h or 30d";
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: i64 = match text.get(digits.len()..).unwrap_or_default() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "y" => 365 * 86_400,
            _ => return Err(ACCEPTED.to_owned()),
        };
        let number = digits.parse::<i64>().ok().filter(|_| !digits.starts_with(['+', '-']));
        let seconds = number.and_then(|number| number.checked_mul(unit)).filter(|s| *s > 0);
        seconds.map(|s| Lifetime(SignedDuration::from_secs(s))).ok_or_else(|| ACCEPTED.to_owned())
    }
}

/// When a token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    After(Lifetime),
    At(Timestamp),
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Expiry, String> {
        if text == "never" {
            return Ok(Expiry::Never);
        }
        if let Ok(time) = text.parse() {
            return Ok(Expiry::At(time));
        }
        text.parse().map(Expiry::After).map_err(|accepted| {
            format!("{accepted}, never, or a time such as 2027-01-31T12:00:00Z")
        })
    }
}

impl Expiry {
    /// The time, for a token that is created now.
    fn after(self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        match self {
            Expiry::Never => Ok(None),
            Expiry::After(lifetime) => later(now, lifetime.0).map(Some),
            Expiry::At(time) if time > now => Ok(Some(time)),
            Expiry::At(time) => {
                Err(Failure::Misuse(format!("--expires is {time}, which is in the past")))
            }
        }
    }
}

/// When a signed token expires: never is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignedExpiry(Expiry);

impl FromStr for SignedExpiry {
    type Err = String;

    fn from_str(text: &str) -> Result<SignedExpiry, String> {
        match text.parse()? {
            Expiry::Never => Err("a signed token must expire; use 5m, for example".to_owned()),
            expiry => Ok(SignedExpiry(expiry)),
        }
    }
}

impl SignedExpiry {
    /// The time, for a token that is signed now.
    pub(crate) fn after(self, now: Timestamp) -> Result<Timestamp, Failure> {
        Ok(self.0.after(now)?.unwrap_or(Timestamp::MAX))
    }
}

impl From<TokenFileError> for Failure {
    fn from(error: TokenFileError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-29T18:00:00Z".parse().expect("a time")
    }

    /// A file with the token `a`, whose secret expires after this time.
    fn file(expires: &str) -> TokenFile {
        let expires = expires.parse::<Expiry>().expect("valid").after(now()).expect("later");
        let (_, stored) = new_secret(now(), expires).expect("random");
        let credential = Credential::Secrets(vec![stored]);
        TokenFile { tokens: vec![Token { name: "a".to_owned(), allow: Vec::new(), credential }] }
    }

    fn grace() -> Lifetime {
        "24h".parse().expect("valid")
    }

    #[test]
    fn expiry_is_a_span_a_time_or_never() {
        let after = |text: &str| {
            let expiry = text.parse::<Expiry>().map_err(|_| ())?;
            expiry.after(now()).map(shown).map_err(|_| ())
        };
        assert_eq!(after("never").as_deref(), Ok("never"));
        assert_eq!(after("30d").as_deref(), Ok("2026-12-29T18:00:00Z"));
        assert_eq!(after("90s").as_deref(), Ok("2026-11-29T18:01:30Z"));
        assert_eq!(after("1y").as_deref(), Ok("2027-11-29T18:00:00Z"));
        assert_eq!(after("2027-01-01T00:00:00+01:00").as_deref(), Ok("2026-12-31T23:00:00Z"));
        for text in [
            "",
            "30",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "30days",
            "1000000y",
            "2026-01-01T00:00:00Z",
            "x",
        ] {
            assert!(after(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rotation_has_two_valid_secrets_until_it_is_finished() {
        let mut file = file("30d");
        let before = secrets(&mut file, 0).expect("secrets").clone();
        let at = later(now(), SignedDuration::from_hours(1)).expect("a time");
        let rotated = rotate(&mut file, 0, at, grace(), None).expect("it has one secret");
        assert_eq!(shown(rotated.expires), "2026-12-29T19:00:00Z");
        assert_eq!(rotated.older_until.to_string(), "2026-11-30T19:00:00Z");
        let both = secrets(&mut file, 0).expect("secrets").clone();
        assert!(both.len() == 2 && both[0].hash == before[0].hash);
        assert!(both[1].hash == rotated.secret.hash());
        assert!(rotate(&mut file, 0, at, grace(), None).is_err(), "a third one");
        finish(&mut file, 0).expect("two secrets");
        assert!(secrets(&mut file, 0).expect("secrets")[..] == both[1..]);
        assert!(finish(&mut file, 0).is_err(), "one secret");
    }

    #[test]
    fn older_secret_never_lives_longer_than_before() {
        let mut file = file("2h");
        let rotated = rotate(&mut file, 0, now(), grace(), Some(None)).expect("one secret");
        assert_eq!(rotated.older_until.to_string(), "2026-11-29T20:00:00Z");
        assert_eq!(rotated.expires, None);
        // The older one has expired, so there is room for another.
        let next_day = later(now(), SignedDuration::from_hours(24)).expect("a time");
        rotate(&mut file, 0, next_day, grace(), None).expect("one valid secret");
    }

    #[test]
    fn list_shows_everything_except_secrets_and_hashes() {
        let mut file = file("30d");
        let hash = secrets(&mut file, 0).expect("secrets")[0].hash.to_string();
        let text = table::rows(&text_rows(&file, now()));
        let json = as_json(&file.tokens[0], now()).to_string();
        for shown in [&text, &json] {
            assert!(shown.contains("2026-12-29T18:00:00Z") && shown.contains("valid"), "{shown}");
            assert!(!shown.contains(&hash) && !shown.contains("styx_"), "{shown}");
        }
        let later = later(now(), SignedDuration::from_hours(24 * 31)).expect("a time");
        assert!(as_json(&file.tokens[0], later).to_string().contains("expired"));
    }
}
