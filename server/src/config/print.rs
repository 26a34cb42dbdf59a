//! Prints a configuration as a TOML file, for `--print-config`.

use std::fmt::Write;

use super::Config;
use super::keys::KEYS;

impl Config {
    /// Every key with its current value, below a comment that describes it. Loading
    /// the text gives the same configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut open_table = "";
        for key in KEYS {
            let Some(value) = (key.value)(self) else { continue };
            let (table, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            // Writing to a String cannot fail.
            if table != open_table {
                let _ = writeln!(out, "\n[{table}]");
                open_table = table;
            }
            let _ = writeln!(out, "# {}\n{name} = {value}", key.about);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::keys::{ConfigKey, KEYS};
    use super::super::value::ValueKind;
    use super::super::{
        Archive, Auth, BindAddress, Config, Jwt, LogManager, Statsd, UploadChecksum,
    };

    #[test]
    fn printed_configuration_loads_as_the_same() {
        let mut config = Config { worker_threads: 3, ..Config::default() };
        config.cors_allowed_origins = vec!["a\"b*".to_owned(), "http://*".to_owned()];
        config.statsd = Some(Statsd {
            protocol: "udp".to_owned(),
            address: "127.0.0.1:8125".to_owned(),
            prefix: "p".to_owned(),
        });
        let name = format!("styx-print-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, config.to_toml()).expect("write");
        let loaded = Config::load(Some(&path), std::iter::empty(), &[]).expect("it loads");
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(loaded.config, config);
        // The pattern with a quote is there for its quote; no browser sends such an origin.
        let warnings = loaded.warnings;
        let is_about = |warning: &String| warning.contains(r#""a\"b*""#);
        assert!(warnings.len() == 1 && warnings.iter().all(is_about), "{warnings:?}");
    }

    /// Gives every printed value back with `--set`, and then as a variable.
    fn check_given_back(config: &Config) {
        let printed = |key: &ConfigKey| (key.value)(config).map(|value| value.to_string());
        let flags: Vec<(String, String)> =
            KEYS.iter().filter_map(|key| Some((key.name.to_owned(), printed(key)?))).collect();
        let text = config.to_toml();
        for (_, value) in &flags {
            assert!(text.contains(&format!(" = {value}\n")), "{value} is printed: {text}");
        }
        let by_flag = Config::load(None, std::iter::empty(), &flags);
        let variables = KEYS.iter().filter_map(|key| Some((key.variable(), printed(key)?)));
        let by_variable = Config::load(None, variables, &[]);
        for loaded in [by_flag, by_variable] {
            assert_eq!(loaded.expect("it loads").config, *config, "{text}");
        }
    }

    fn parsed(address: &str) -> BindAddress {
        address.parse().expect("an address")
    }

    /// With every key that has no default.
    fn auth_with_jwt(text: &str) -> Auth {
        let jwt = Jwt {
            jwks_file: PathBuf::from(text),
            issuer: text.to_owned(),
            audience: vec![text.to_owned(), "b".to_owned()],
            grants_claim: text.to_owned(),
            revoked_file: Some(PathBuf::from(text)),
            ..Jwt::default()
        };
        Auth { token_file: None, jwt: Some(jwt) }
    }

    #[test]
    fn every_printed_value_can_be_given_back_as_a_flag_and_as_a_variable() {
        check_given_back(&Config::default());
        check_given_back(&Config { cors_allowed_origins: Vec::new(), ..Config::default() });
        let bind_addresses = vec![parsed("[::1]:80")];
        check_given_back(&Config { bind_addresses, ..Config::default() });
        for text in [
            "plain",
            "two words",
            " padded ",
            "a,b",
            "[a]",
            "[\"a\"]",
            "\"quoted\"",
            "'quoted'",
            "it's \"both\"",
            "back\\slash",
            "two\nlines",
            "tab\tbed",
            "true",
            "7",
            "# none",
            "a = 1",
            "é*",
        ] {
            check_given_back(&Config {
                pid_file: Some(std::env::temp_dir().join(format!("styx-none-{text}"))),
                bind_addresses: ["[::1]:80", "unix:///run/a.sock"].map(parsed).to_vec(),
                admin_address: Some(parsed("[::1]:81")),
                cors_allowed_origins: vec![text.to_owned(), "http://localhost:*".to_owned()],
                auth: Some(auth_with_jwt(text)),
                limits_file: Some(PathBuf::from(text)),
                archive: Archive {
                    url: Some("s3://history/logs".parse().expect("a URL")),
                    endpoint: "http://127.0.0.1:7070".to_owned(),
                    region: text.to_owned(),
                    credentials_file: Some(PathBuf::from(text)),
                    checksum: UploadChecksum::Sha256,
                    refresh: std::time::Duration::from_secs(60),
                    ..Archive::default()
                },
                log_manager: LogManager {
                    data_directory: PathBuf::from(format!("{text}/styx-none")),
                    pad_commits: true,
                    ..Config::default().log_manager
                },
                statsd: Some(Statsd {
                    protocol: "udp".to_owned(),
                    address: "localhost:8125".to_owned(),
                    prefix: text.to_owned(),
                }),
                ..Config::default()
            });
        }
    }

    #[test]
    fn smallest_and_largest_number_of_every_key_can_be_given_back() {
        for key in KEYS {
            let ValueKind::Number { min, max } = key.kind else { continue };
            for number in [min, max] {
                let mut config = Config::default();
                if key.name.starts_with("auth.jwt.") {
                    config.auth = Some(auth_with_jwt("a"));
                }
                let set = (key.set)(&mut config, &toml::Value::Integer(number));
                set.expect("it is in the range");
                check_given_back(&config);
            }
        }
    }
}
