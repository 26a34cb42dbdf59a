//! Loads a checked [`Config`] from the file, the environment and flags.
//!
//! An invalid value is an error in every source. An unknown key is an error in a
//! flag but a warning in the file, because a server must start with the file of
//! another version.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, ConfigKey, KEYS};
use super::{Auth, BindSource, Config, Jwt, Statsd, address, environment, exposure, path};

/// A configuration and the warnings about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// One line for each warning.
    pub warnings: Vec<String>,
    /// Where the bind address comes from.
    pub bind_source: BindSource,
}

/// Why the configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The syntax error and its place.
        message: String,
    },
    /// A value is invalid.
    #[error("{key} in {source_name} is {value}: {accepted}")]
    Value {
        /// The key or variable.
        key: String,
        /// The file, "the environment", "the command line", or "the configuration" if the
        /// check needs the values of all sources.
        source_name: String,
        /// The value.
        value: String,
        /// Valid values.
        accepted: String,
    },
    /// A flag names an unknown key.
    #[error("unknown configuration key {key}: did you mean {nearest}?")]
    UnknownKey {
        /// The unknown key.
        key: String,
        /// The known key that is most similar.
        nearest: &'static str,
    },
}

impl Config {
    /// Reads the file (if there is one), then `STYX_…` variables, then `overrides`
    /// (dotted key, text). Later sources win over earlier ones and the defaults. An empty
    /// variable counts as unset.
    ///
    /// # Errors
    /// The file cannot be read, a value is invalid, an override is unknown, or the server
    /// can never use a path or address.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Loaded, Error> {
        let mut loaded = Loaded {
            config: Config::default(),
            warnings: Vec::new(),
            bind_source: BindSource::default(),
        };
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Read { path: path.to_owned(), source })?;
            let table: Table = text.parse().map_err(|error: toml::de::Error| {
                let message = error.to_string().trim_end().to_owned();
                Error::Syntax { path: path.to_owned(), message }
            })?;
            loaded.table("", &table, &path.display().to_string())?;
        }
        for (variable, text) in environment {
            loaded.variable(&variable, &text)?;
        }
        for (name, text) in overrides {
            let key = keys::find(name).ok_or_else(|| Error::UnknownKey {
                key: name.clone(),
                nearest: keys::nearest(name),
            })?;
            loaded.text(key, key.name, text, "the command line")?;
        }
        loaded.check_statsd()?;
        loaded.check_paths()?;
        loaded.check_tls()?;
        loaded.check_jwt()?;
        loaded.check_archive()?;
        loaded.check_origins();
        Ok(loaded)
    }
}

impl Loaded {
    /// Checks whether others can reach the server without access control, or read its tokens,
    /// because of a flag or an environment variable. `is_insecure` accepts that.
    ///
    /// # Errors
    /// Why the server must not start, and what to do.
    pub fn check_exposure(&self, is_insecure: bool) -> Result<(), String> {
        exposure::check(&self.config, self.bind_source, is_insecure)
    }

    fn table(&mut self, prefix: &str, table: &Table, source_name: &str) -> Result<(), Error> {
        for (name, value) in table {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match (keys::find(&name), value) {
                (Some(key), value) => self.set(key, key.name, value, source_name)?,
                (None, Value::Table(inner)) if is_table(&name) => {
                    if name.eq_ignore_ascii_case("metrics.statsd") {
                        self.config.statsd.get_or_insert_with(Statsd::default);
                    }
                    // Even without a key, its author wants access control.
                    if name.eq_ignore_ascii_case("auth") {
                        self.config.auth.get_or_insert_with(Auth::default);
                    }
                    if name.eq_ignore_ascii_case("auth.jwt") {
                        let auth = self.config.auth.get_or_insert_with(Auth::default);
                        auth.jwt.get_or_insert_with(Jwt::default);
                    }
                    self.table(&name, inner, source_name)?;
                }
                (None, _) => self.warnings.push(format!(
                    "{source_name}: unknown key {name}: did you mean {}?",
                    keys::nearest(&name)
                )),
            }
        }
        Ok(())
    }

    fn variable(&mut self, variable: &str, text: &str) -> Result<(), Error> {
        if !variable.starts_with("STYX_") || text.trim().is_empty() {
            return Ok(());
        }
        if let Some(key) = KEYS.iter().find(|key| key.is_set_by(variable)) {
            return self.text(key, variable, text, "the environment");
        }
        self.warnings.extend(environment::warning(variable, text));
        Ok(())
    }

    fn text(
        &mut self,
        key: &ConfigKey,
        shown: &str,
        text: &str,
        source_name: &str,
    ) -> Result<(), Error> {
        // Only variables and flags are text.
        if key.name == "bind_address" {
            self.bind_source = BindSource::Given;
        }
        match key.kind.value_of(text) {
            Some(value) => self.set(key, shown, &value, source_name),
            None => Err(Error::Value {
                key: shown.to_owned(),
                source_name: source_name.to_owned(),
                value: format!("{text:?}"),
                accepted: format!("use {}", key.kind.accepted_as_text()),
            }),
        }
    }

    fn set(
        &mut self,
        key: &ConfigKey,
        shown: &str,
        value: &Value,
        source_name: &str,
    ) -> Result<(), Error> {
        let wrong = |accepted| Error::Value {
            key: shown.to_owned(),
            source_name: source_name.to_owned(),
            value: value.to_string(),
            accepted,
        };
        if !key.kind.admits(value) {
            return Err(wrong(format!("use {}", key.kind.accepted())));
        }
        (key.set)(&mut self.config, value).map_err(wrong)
    }

    /// Turns StatsD off if its table has no address or another protocol, because an
    /// old file must not keep the server from starting. The address is only checked if
    /// StatsD is on.
    fn check_statsd(&mut self) -> Result<(), Error> {
        let Some(statsd) = &mut self.config.statsd else { return Ok(()) };
        if statsd.protocol.is_empty() {
            statsd.protocol = "udp".to_owned();
        }
        let problem = if statsd.address.is_empty() {
            "metrics.statsd.address is missing".to_owned()
        } else if statsd.protocol != "udp" {
            format!(
                "metrics.statsd.protocol is {:?}, but only \"udp\" is supported",
                statsd.protocol
            )
        } else if address::is_destination(&statsd.address) {
            return Ok(());
        } else {
            let accepted = "use host:port, as in 127.0.0.1:8125, localhost:8125 or [::1]:8125";
            return Err(unusable("metrics.statsd.address", &statsd.address, accepted.to_owned()));
        };
        self.warnings.push(format!("{problem}: StatsD is off"));
        self.config.statsd = None;
        Ok(())
    }

    /// Refuses paths that the server can never use on this machine.
    fn check_paths(&self) -> Result<(), Error> {
        let directory = &self.config.log_manager.data_directory;
        path::check_directory(directory).map_err(|accepted| {
            unusable("log_manager.data_directory", &directory.to_string_lossy(), accepted)
        })?;
        let Some(file) = &self.config.pid_file else { return Ok(()) };
        path::check_file(file)
            .map_err(|accepted| unusable("pid_file", &file.to_string_lossy(), accepted))
    }

    /// Refuses keys of `[tls]` that contradict each other.
    fn check_tls(&self) -> Result<(), Error> {
        match self.config.tls.contradiction() {
            Some((key, value, accepted)) => Err(unusable(key, &value, accepted.to_owned())),
            None => Ok(()),
        }
    }

    /// Refuses `[auth.jwt]` without a key that it needs.
    fn check_jwt(&self) -> Result<(), Error> {
        let jwt = self.config.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
        match jwt.and_then(Jwt::missing) {
            Some((key, accepted)) => Err(unusable(key, "", accepted.to_owned())),
            None => Ok(()),
        }
    }

    /// Refuses keys of `[archive]` that contradict each other, and warns if they have no effect.
    fn check_archive(&mut self) -> Result<(), Error> {
        if let Some((key, value, accepted)) = self.config.archive.contradiction() {
            return Err(unusable(key, &value, accepted.to_owned()));
        }
        self.warnings.extend(self.config.archive.warning());
        Ok(())
    }

    /// Warns about patterns that match no origin. They are no errors, because 0.x accepted
    /// every string.
    fn check_origins(&mut self) {
        for pattern in &self.config.cors_allowed_origins {
            if !may_match_an_origin(pattern) {
                self.warnings.push(format!(
                    "cors_allowed_origins has the pattern {pattern:?}, which matches no origin: \
                     use scheme://host or scheme://host:port, without a path; * matches any characters"
                ));
            }
        }
    }
}

/// The error about a value that only the values of all sources together show to be wrong.
fn unusable(key: &str, value: &str, accepted: String) -> Error {
    Error::Value {
        key: key.to_owned(),
        source_name: "the configuration".to_owned(),
        value: format!("{value:?}"),
        accepted,
    }
}

/// Whether a browser may send an `Origin` that matches: `scheme://host`, with a port or
/// not, or `null`.
fn may_match_an_origin(pattern: &str) -> bool {
    let is_whole = pattern.contains('*') || pattern.contains("://") || pattern == "null";
    let is_stray = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
    is_whole && !pattern.ends_with('/') && !pattern.contains(is_stray)
}

/// Whether a key is in a table of this name.
fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && key.name.as_bytes().get(name.len()) == Some(&b'.')
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;
    use crate::config::ClientAuth;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Loaded, Error> {
        let mut at = std::env::temp_dir();
        at.push(format!("styx-config-{}-{:x}.toml", std::process::id(), getrandom_u64()));
        let mut out = std::fs::File::create(&at).expect("a temporary file");
        out.write_all(file.as_bytes()).expect("write");
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let loaded = Config::load(Some(&at), environment, &[]);
        std::fs::remove_file(&at).expect("remove");
        loaded
    }

    /// The addresses to listen on.
    fn shown(config: &Config) -> String {
        let texts: Vec<_> = config.bind_addresses.iter().map(ToString::to_string).collect();
        texts.join(" ")
    }

    fn getrandom_u64() -> u64 {
        getrandom::u64().expect("random")
    }

    /// A complete file of Styx 0.x, with every key that it had.
    const OLD: &str = r#"
        pid_file = "/var/run/styx.pid"
        bind_address = "0.0.0.0:7123"
        shutdown_timeout = 5
        cors_allowed_origins = ["http://*.example.com"]
        http_read_buffer_size = 1048576
        http_write_buffer_size = 1048576
        tcp_read_buffer_size = 1048576
        tcp_write_buffer_size = 1048576
        tcp_timeout = 20
        websocket_read_buffer_size = 1048576
        websocket_write_buffer_size = 1048576
        [log_manager]
        data_directory = "/srv/styx"
        read_buffer_size = 2048
        write_buffer_size = 1048576
        [metrics.statsd]
        protocol = "udp"
        address = "127.0.0.1:8125"
        prefix = "styx"
    "#;

    #[test]
    fn file_of_0_x_loads_without_a_warning() {
        let loaded = load(OLD, &[]).expect("it loads");
        assert_eq!(loaded.warnings, Vec::<String>::new());
        assert_eq!(shown(&loaded.config), "0.0.0.0:7123");
        assert_eq!(loaded.config.tcp_timeout, Duration::from_secs(20));
        assert_eq!(loaded.config.log_manager.read_buffer_size, 2048);
        assert_eq!(loaded.config.statsd.expect("on").prefix, "styx");
    }

    #[test]
    fn later_sources_win_over_earlier_ones() {
        let environment = [("STYX_BIND_ADDRESS", ":1"), ("STYX_DATA_DIRECTORY", "/b")];
        let loaded = load(OLD, &environment).expect("it loads");
        assert_eq!(shown(&loaded.config), ":1");
        assert_eq!(loaded.config.log_manager.data_directory, Path::new("/b"));
        let flags = [("bind_address".to_owned(), "x:2".to_owned())];
        let environment = [("STYX_BIND_ADDRESS".to_owned(), ":1".to_owned())];
        let loaded = Config::load(None, environment.into_iter(), &flags).expect("it loads");
        assert_eq!(shown(&loaded.config), "x:2");
    }

    #[test]
    fn several_addresses_are_a_list_in_every_source() {
        let both = "127.0.0.1:1 unix:///run/styx.sock";
        let file = "bind_address = [\"127.0.0.1:1\", \"unix:///run/styx.sock\"]";
        assert_eq!(shown(&load(file, &[]).expect("it loads").config), both);
        let text = "127.0.0.1:1,unix:///run/styx.sock";
        let loaded = load("", &[("STYX_BIND_ADDRESS", text)]).expect("it loads");
        assert_eq!(shown(&loaded.config), both);
        let flags = [("bind_address".to_owned(), text.to_owned())];
        let loaded = Config::load(None, std::iter::empty(), &flags).expect("it loads");
        assert_eq!(shown(&loaded.config), both);
    }

    #[test]
    fn warning_about_an_unknown_key_names_the_most_similar_key() {
        let text = "bind_adress = \"x:1\"\ndata_directory = \"x\"\n[log_manger]\nx = 1\n";
        let loaded = load(text, &[("STYX_TCP_TIMEOT", "3"), ("STYX_SERVICE_HOST", "x")]);
        let warnings = loaded.expect("it loads").warnings;
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings[0].ends_with("unknown key bind_adress: did you mean bind_address?"));
        assert!(warnings[1].ends_with("did you mean log_manager.data_directory?"));
        assert!(warnings[2].contains("log_manger"));
        assert!(warnings[3].ends_with("did you mean STYX_TCP_TIMEOUT?"));
        let flags = [("tcp_timeot".to_owned(), "2".to_owned())];
        let error = Config::load(None, std::iter::empty(), &flags).expect_err("unknown");
        assert!(error.to_string().contains("did you mean tcp_timeout?"), "{error}");
    }

    #[test]
    fn error_about_an_invalid_value_names_valid_values() {
        for (text, part) in [
            ("tcp_timeout = 0", "whole number from 1"),
            ("tcp_timeout = \"x\"", "whole number from 1"),
            ("bind_address = \"x\"", "use host:port"),
            ("bind_address = []", "at least one address"),
            ("bind_address = [\":1\", \"x\"]", "for \"x\", use host:port"),
            ("bind_address = [\":1\", \":1\"]", "it has :1 twice"),
            ("bind_address = 1", "a string in quotes, or a list"),
            ("admin_address = \"unix://x\"", "an absolute path"),
            ("unix_socket_mode = \"rw\"", "an octal number"),
            ("unix_socket_owner = \"a b\"", "use USER"),
            ("cors_allowed_origins = [1]", "a list of strings"),
            ("log_manager = 3\nx", "not TOML"),
        ] {
            let error = load(text, &[]).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn statsd_address_that_can_never_work_is_an_error() {
        for address in ["localhost", "localhost:70000", "http://localhost:8125", "localhost:0"] {
            let table = format!("[metrics.statsd]\naddress = \"{address}\"\n");
            let error = load(&table, &[]).expect_err(address).to_string();
            for part in ["metrics.statsd.address", address, "use host:port"] {
                assert!(error.contains(part), "{address}: {error}");
            }
            // The address of another protocol is ignored.
            let loaded = load(&format!("{table}protocol = \"tcp\"\n"), &[]).expect("it loads");
            assert_eq!((loaded.config.statsd, loaded.warnings.len()), (None, 1));
            let loaded = load(&table, &[("STYX_STATSD_ADDRESS", "localhost:8125")]);
            assert_eq!(loaded.expect("it loads").warnings, Vec::<String>::new());
        }
    }

    #[test]
    fn path_that_can_never_work_is_an_error() {
        let file = std::env::current_exe().expect("the test").display().to_string();
        let below = format!("{file}/data");
        for (key, value) in [
            ("log_manager.data_directory", file.as_str()),
            ("log_manager.data_directory", below.as_str()),
            ("pid_file", "/"),
            ("pid_file", "/nonexistent/styx.pid"),
        ] {
            let flags = [(key.to_owned(), value.to_owned())];
            let error = Config::load(None, std::iter::empty(), &flags).expect_err(value);
            let error = error.to_string();
            for part in [key, value, "use the path of"] {
                assert!(error.contains(part), "{value}: {error}");
            }
        }
    }

    #[test]
    fn keys_of_tls_that_contradict_each_other_are_an_error() {
        let load = |table: &str| load(&format!("[tls]\n{table}\n"), &[]);
        let both = "certificate = 'a'\nkey = 'b'";
        for (table, key) in [
            ("certificate = 'a'", "tls.key"),
            ("key = 'a'", "tls.certificate"),
            ("client_ca = 'a'", "tls.client_ca"),
            (&format!("{both}\nclient_auth = 'optional'"), "tls.client_auth"),
            (&format!("{both}\nclient_auth = 'maybe'"), "tls.client_auth"),
            (&format!("{both}\nmin_version = '1.1'"), "tls.min_version"),
        ] {
            let error = load(table).expect_err(table).to_string();
            assert!(error.contains(key), "{table}: {error}");
        }
        let config = |table: &str| load(table).expect("it loads").config.tls.files();
        assert_eq!(config(""), None);
        let files = config(both).expect("TLS is on");
        assert_eq!(files.client_auth, ClientAuth::Off);
        let files = config(&format!("{both}\nclient_ca = 'c'")).expect("TLS is on");
        assert_eq!(files.client_auth, ClientAuth::Required, "whoever names a CA means it");
        let files = config(&format!("{both}\nclient_ca = 'c'\nclient_auth = 'optional'"));
        assert_eq!(files.expect("TLS is on").client_auth, ClientAuth::Optional);
    }

    #[test]
    fn signed_tokens_need_keys_an_issuer_and_an_audience() {
        let load = |keys: &str| load(&format!("[auth.jwt]\n{keys}\n"), &[]);
        let all = "jwks_file = 'keys'\nissuer = 'app'\naudience = 'styx'";
        for (keys, key) in [
            ("", "auth.jwt.jwks_file"),
            (&all.replace("jwks_file", "revoked_file"), "auth.jwt.jwks_file"),
            (&all.replace("issuer", "grants_claim"), "auth.jwt.issuer"),
            (&all.replace("'styx'", "[]"), "auth.jwt.audience"),
            (&all.replace("'styx'", "['styx', '']"), "auth.jwt.audience"),
            (&format!("{all}\nalgorithms = ['none']"), "use ES256, ES384"),
            (&format!("{all}\nalgorithms = ['HS256']"), "HS256 is not accepted"),
            (&format!("{all}\nalgorithms = []"), "at least one algorithm"),
            (&format!("{all}\ngrants_claim = ''"), "the name of a claim"),
            (&format!("{all}\nleeway = 61"), "from 0 to 60"),
        ] {
            let error = load(keys).expect_err(keys).to_string();
            assert!(error.contains(key), "{keys}: {error}");
        }
        let auth = load(all).expect("it loads").config.auth.expect("access control is on");
        let jwt = auth.jwt.expect("signed tokens are accepted");
        assert_eq!(jwt.audience, ["styx"]);
        assert_eq!(
            Jwt { jwks_file: "keys".into(), issuer: "app".into(), ..Jwt::default() },
            Jwt { audience: Vec::new(), ..jwt }
        );
    }

    #[test]
    fn empty_variable_counts_as_unset() {
        let empty = KEYS.iter().map(|key| (key.variable(), String::new()));
        let empty = empty.chain([("STYX_QUUX".to_owned(), " ".to_owned())]);
        let loaded = Config::load(None, empty, &[]).expect("it loads");
        assert_eq!((loaded.config, loaded.warnings), (Config::default(), Vec::new()));
    }

    #[test]
    fn every_size_of_an_ignored_key_is_accepted() {
        for size in ["0", "4294967296"] {
            let file = format!(
                "http_write_buffer_size = {size}\n[log_manager]\nwrite_buffer_size = {size}\n"
            );
            assert_eq!(load(&file, &[]).expect("it loads").warnings, Vec::<String>::new());
        }
    }

    #[test]
    fn archive_needs_a_url_that_fits_its_other_keys() {
        let loaded = load("", &[]).expect("it loads");
        assert_eq!((loaded.config.archive.url, loaded.warnings), (None, Vec::new()));

        let file = "[archive]\nurl = \"s3://history/a/\"\nlocal_max_size = 1_000_000\n";
        let loaded = load(file, &[("STYX_ARCHIVE_MAX_LAG", "60")]).expect("it loads");
        let archive = loaded.config.archive;
        assert_eq!(
            archive.url.as_ref().map(ToString::to_string).as_deref(),
            Some("s3://history/a")
        );
        assert_eq!((archive.local_max_size, archive.max_lag), (1_000_000, Duration::from_secs(60)));
        assert_eq!((archive.uploads, loaded.warnings), (2, Vec::new()));

        let loaded = load("[archive]\nreplica_of = \"s3://a/\"\nrefresh = 60\n", &[]);
        let loaded = loaded.expect("it loads");
        let shown = loaded.config.archive.replica_of.map(|url| url.to_string());
        assert_eq!((shown.as_deref(), loaded.warnings), (Some("s3://a"), Vec::new()));
        assert_eq!(loaded.config.archive.refresh, Duration::from_secs(60));

        let loaded = load("[archive]\nlocal_max_size = 1\n", &[]).expect("it loads");
        assert!(loaded.warnings[0].contains("archive.url"), "{:?}", loaded.warnings);

        for (file, part) in [
            ("url = \"history\"", "s3://BUCKET"),
            ("url = \"s3://a\"\nmax_lag = 0", "from 1"),
            ("url = \"s3://a\"\nendpoint = \"a.example\"", "https://s3.example.com"),
            ("url = \"file:///a\"\nendpoint = \"http://a\"", "leave it empty"),
            ("url = \"s3://a\"\nuploads = 65", "from 1 to 64"),
            ("replica_of = \"s3://a\"\nurl = \"s3://b\"", "leave it or archive.url empty"),
            ("replica_of = \"file:///a\"\nendpoint = \"http://a\"", "leave it empty"),
            ("replica_of = \"s3://a\"\nrefresh = 0", "from 1 to 3600"),
        ] {
            let refused = load(&format!("[archive]\n{file}\n"), &[]).expect_err(file);
            assert!(refused.to_string().contains(part), "{refused}");
        }
    }

    #[test]
    fn pattern_that_matches_no_origin_is_warned_about() {
        let valid = r#""*", "null", "http://*.example.com", "https://a:1", "*.example.com""#;
        let loaded = load(&format!("cors_allowed_origins = [{valid}]\n"), &[]);
        assert_eq!(loaded.expect("it loads").warnings, Vec::<String>::new());
        for pattern in ["a.example", "https://a/", "https://a, https://b", "'https://a'", ""] {
            let loaded = load(&format!("cors_allowed_origins = [\"{pattern}\"]\n"), &[]);
            let warnings = loaded.expect("it loads").warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(pattern), "{warnings:?}");
        }
    }

    #[test]
    fn statsd_without_an_address_is_off_with_a_warning() {
        for table in ["", "protocol = \"tcp\"\naddress = \"x:1\""] {
            let loaded = load(&format!("[metrics.statsd]\n{table}\n"), &[]).expect("it loads");
            assert_eq!((loaded.config.statsd, loaded.warnings.len()), (None, 1));
        }
    }
}
