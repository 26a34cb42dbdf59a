//! The text of a token file: parsing and printing.

use std::fmt::{self, Display, Write};
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;
use toml::value::Datetime;

use super::{Credential, StoredSecret, Token, TokenFile};

const HEAD: &str = "\
# The tokens of a Styx server. Change them with `styx token`, which does not keep comments.
# The server reads this file again when it changes. It has no secrets, only their SHA-256.
";

/// The file as TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    #[serde(default)]
    token: Vec<TokenToml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenToml {
    name: String,
    allow: Vec<String>,
    #[serde(default)]
    secret: Vec<SecretToml>,
    certificate: Option<String>,
    expires: Option<Datetime>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretToml {
    sha256: String,
    created: Datetime,
    expires: Option<Datetime>,
}

impl FromStr for TokenFile {
    type Err = String;

    /// # Errors
    /// The mistake and its place.
    fn from_str(text: &str) -> Result<TokenFile, String> {
        let file: FileToml =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let tokens = file.token.into_iter().map(token).collect::<Result<_, _>>()?;
        let file = TokenFile { tokens };
        file.check()?;
        Ok(file)
    }
}

fn token(toml: TokenToml) -> Result<Token, String> {
    let TokenToml { name, allow, secret, certificate, expires } = toml;
    let wrong = |what: &dyn Display| format!("token {name}: {what}");
    let allow = allow.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    let allow = allow.map_err(|error: super::super::InvalidGrant| wrong(&error))?;
    let credential = match (certificate, secret.is_empty()) {
        (Some(_), false) => {
            return Err(wrong(&"it has a certificate and secrets; use one of them"));
        }
        (Some(subject), true) => {
            let expires = expires.as_ref().map(time).transpose().map_err(|e| wrong(&e))?;
            Credential::Certificate { subject, expires }
        }
        (None, _) if expires.is_some() => {
            return Err(wrong(&"expires belongs to its secrets; move it to [[token.secret]]"));
        }
        (None, _) => {
            let secrets = secret.iter().map(stored_secret).collect::<Result<_, _>>();
            Credential::Secrets(secrets.map_err(|e| wrong(&e))?)
        }
    };
    Ok(Token { name, allow, credential })
}

fn stored_secret(toml: &SecretToml) -> Result<StoredSecret, String> {
    let hash = toml.sha256.parse();
    let hash = hash.map_err(|()| "sha256 must be 64 hexadecimal digits".to_owned())?;
    let expires = toml.expires.as_ref().map(time).transpose()?;
    Ok(StoredSecret { hash, created: time(&toml.created)?, expires })
}

/// A point in time. A date, or a time without an offset, is ambiguous.
fn time(toml: &Datetime) -> Result<Timestamp, String> {
    let text = toml.to_string();
    let time: Result<Timestamp, _> = text.parse();
    time.map_err(|_| format!("{text} is not a time; write it as in 2026-12-31T12:00:00Z"))
}

impl Display for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for token in &self.tokens {
            let allow: Vec<String> =
                token.allow.iter().map(|grant| quoted(&grant.to_string())).collect();
            let (name, allow) = (quoted(&token.name), allow.join(", "));
            writeln!(f, "\n[[token]]\nname = {name}\nallow = [{allow}]")?;
            match &token.credential {
                Credential::Certificate { subject, expires } => {
                    writeln!(f, "certificate = {}", quoted(subject))?;
                    expires_line(f, *expires)?;
                }
                Credential::Secrets(secrets) => {
                    for secret in secrets {
                        let (hash, created) = (secret.hash, shown(secret.created));
                        writeln!(
                            f,
                            "\n[[token.secret]]\nsha256 = \"{hash}\"\ncreated = {created}"
                        )?;
                        expires_line(f, secret.expires)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn expires_line(f: &mut fmt::Formatter<'_>, expires: Option<Timestamp>) -> fmt::Result {
    expires.map_or(Ok(()), |expires| writeln!(f, "expires = {}", shown(expires)))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Writing to a String cannot fail.
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// TOML has no years before 0 or after 9999, and `styx token` makes none.
fn shown(time: Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::Secret;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn example() -> TokenFile {
        let secret = |created, expires: Option<&str>| StoredSecret {
            hash: Secret::generate().expect("random").hash(),
            created: at(created),
            expires: expires.map(at),
        };
        let ci = Token {
            name: "ci".to_owned(),
            allow: vec![
                "append:orders-*".parse().expect("a grant"),
                "read:*".parse().expect("one"),
            ],
            credential: Credential::Secrets(vec![
                secret("2026-11-29T18:00:00Z", Some("2026-12-29T18:00:00.5Z")),
                secret("2026-11-30T18:00:00Z", None),
            ]),
        };
        let billing = Token {
            name: "billing".to_owned(),
            allow: Vec::new(),
            credential: Credential::Certificate {
                subject: "CN=bil\"ling\\,O=\u{e9}\n".to_owned(),
                expires: Some(at("2027-01-01T00:00:00Z")),
            },
        };
        TokenFile { tokens: vec![ci, billing] }
    }

    #[test]
    fn printed_file_parses_as_the_same() {
        for file in [example(), TokenFile::default()] {
            let text = file.to_string();
            assert_eq!(text.parse::<TokenFile>().as_ref(), Ok(&file), "{text}");
        }
        let ci = &example().tokens[0];
        assert_eq!(ci.expires(), None);
        let billing = &example().tokens[1];
        assert!(billing.is_expired(at("2027-01-01T00:00:00Z")));
        assert!(!billing.is_expired(at("2026-12-31T23:59:59Z")));
    }

    #[test]
    fn error_names_the_token_and_what_to_do() {
        let hash = "ab".repeat(32);
        let other = "cd".repeat(32);
        let secret =
            format!("[[token.secret]]\nsha256 = '{hash}'\ncreated = 2026-01-01T00:00:00Z\n");
        let head = "[[token]]\nname = 'ci'\nallow = ['read:*']\n";
        for (text, parts) in [
            ("x".to_owned(), vec!["line 1"]),
            ("[[tokens]]".to_owned(), vec!["tokens"]),
            (format!("{head}title = 1"), vec!["title"]),
            (head.to_owned(), vec!["token ci", "0 secrets"]),
            (format!("{head}{secret}{}", secret.repeat(2)), vec!["token ci", "3 secrets"]),
            (format!("{head}{secret}{secret}"), vec!["token ci", "twice"]),
            (
                format!("{head}{secret}{head}{secret}").replacen(&hash, &other, 1),
                vec!["two tokens ci"],
            ),
            (format!("{head}certificate = 'CN=a'\n{secret}"), vec!["token ci", "use one"]),
            (format!("{head}certificate = ' '\n"), vec!["token ci", "CN=billing"]),
            (format!("{head}expires = 2026-01-01T00:00:00Z\n{secret}"), vec!["move it"]),
            (format!("{head}{secret}").replace("read:*", "read"), vec!["token ci", "read:*"]),
            (format!("{head}{secret}").replace(&hash, "ab"), vec!["token ci", "64 hex"]),
            (
                format!("{head}{secret}").replace("T00:00:00Z", ""),
                vec!["token ci", "2026-12-31T12"],
            ),
            (format!("{head}{secret}").replace("'ci'", "'c i'"), vec!["\"c i\"", "letters"]),
        ] {
            let error = text.parse::<TokenFile>().expect_err(&text);
            for part in parts {
                assert!(error.contains(part), "{part:?} is missing: {error}");
            }
        }
    }
}
