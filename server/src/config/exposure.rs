//! Whether a server may be reached by others than the programs of its own machine.
//!
//! | bind address | access control | TLS | from a flag or the environment | from the file |
//! |---|---|---|---|---|
//! | loopback | | | accepted | accepted |
//! | other | no | | refused | a warning |
//! | other | yes | no | refused, because tokens could be read | a warning |
//! | other | yes | yes | accepted | accepted |
//!
//! The file only warns, because files of 0.x must start the server unchanged. `--insecure`
//! turns a refusal into a warning.

use std::net::IpAddr;

use super::{BindAddress, Config};

/// Where the bind address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindSource {
    /// The default, or the configuration file.
    #[default]
    File,
    /// An environment variable or a flag.
    Given,
}

impl BindAddress {
    /// Whether only this machine can reach it, as with every Unix socket. A name other than
    /// `localhost` may mean any address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let BindAddress::Tcp { host, .. } = self else { return true };
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Checks whether others can reach the server without access control, or read its tokens.
///
/// # Errors
/// Why the server must not start with this address, and what to do.
pub(super) fn check(config: &Config, source: BindSource, is_insecure: bool) -> Result<(), String> {
    if source == BindSource::File || is_insecure {
        return Ok(());
    }
    let exposed = config.bind_addresses.iter().find(|address| !address.is_loopback());
    let Some(address) = exposed else { return Ok(()) };
    if !config.has_access_control() {
        return Err(format!(
            "others can reach the bind address {address}, but there is no access control: create a \
             token with `styx token create`, bind to 127.0.0.1, or give --insecure if everybody \
             who can connect may read, write and delete every log"
        ));
    }
    if !config.has_tls() {
        return Err(format!(
            "others can reach the bind address {address}, but there is no TLS, so tokens could be \
             read on the network: set up [tls], bind to 127.0.0.1 behind a proxy with TLS, or give \
             --insecure if you trust the network"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Auth;
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        let is_loopback = |text: &str| text.parse::<BindAddress>().expect(text).is_loopback();
        for text in
            ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST.:1", "unix:///s"]
        {
            assert!(is_loopback(text), "{text}");
        }
        for text in [":1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", "localhost.a:1"] {
            assert!(!is_loopback(text), "{text}");
        }
    }

    #[test]
    fn address_of_a_flag_needs_access_control_and_tls() {
        let config = |address: &str, auth| Config {
            bind_addresses: ["127.0.0.1:0", address]
                .into_iter()
                .map(|address| address.parse().expect("an address"))
                .collect(),
            auth,
            ..Config::default()
        };
        let open = config(":0", None);
        let tokens = config("0.0.0.0:0", Some(Auth::default()));
        let refusal = |config, source, is_insecure| check(config, source, is_insecure).err();
        for (config, part) in [(&open, "no access control"), (&tokens, "no TLS")] {
            let error = refusal(config, BindSource::Given, false).expect("refused");
            assert!(error.contains(part) && error.contains("--insecure"), "{error}");
            assert_eq!(refusal(config, BindSource::Given, true), None);
            assert_eq!(refusal(config, BindSource::File, false), None);
        }
        let local = config("127.0.0.1:0", None);
        assert_eq!(refusal(&local, BindSource::Given, false), None);
    }
}
