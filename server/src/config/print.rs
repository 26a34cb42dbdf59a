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
    use super::super::{Config, Statsd};

    #[test]
    fn printed_configuration_loads_as_the_same() {
        let mut config = Config { worker_threads: 3, ..Config::default() };
        config.cors_allowed_origins = vec!["a\"b".to_owned(), "http://*".to_owned()];
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
        assert_eq!((loaded.config, loaded.warnings), (config, Vec::new()));
    }
}
