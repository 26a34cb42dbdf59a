//! `styx health`: asks a server whether it works, for the health checks of containers.

use serde::Deserialize;
use styx_client::Error;
use styx_client::blocking::{Builder, Client};
use styx_server::Config;
use styx_server::config::BindAddress;

use crate::command_line::{Format, Global, HealthArguments};
use crate::failure::Failure;
use crate::{output, serve};

/// The answer of `/health/live` and `/health/ready`.
#[derive(Debug, Deserialize)]
struct Health {
    status: String,
}

/// Asks the server that the flags, the environment or the configuration file select.
pub(crate) fn run(arguments: &HealthArguments, global: &Global) -> Result<(), Failure> {
    let mut builder = match &global.host {
        Some(host) => Client::builder(host),
        None => of_configuration(arguments)?,
    };
    builder = builder
        .user_agent(concat!("styx/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(arguments.timeout)
        .timeout(arguments.timeout)
        .retry(false);
    if let Some(token) = &global.token {
        builder = builder.token(token.clone());
    }
    if let Some(path) = &global.ca_file {
        builder = builder.ca_file(path.clone());
    }
    let client = builder.build()?;
    let (path, what) = match arguments.live {
        true => ("/health/live", "live"),
        false => ("/health/ready", "ready"),
    };
    let failed = |error: Error| {
        Failure::Failed(format!("the server at {} is not {what}: {error}", client.address()))
    };
    let text = client.get_text(path).map_err(failed)?;
    match (serde_json::from_str::<Health>(&text), global.format) {
        (Ok(_), Format::Json) => output::print(&text),
        (Ok(health), Format::Text) => output::print(&format!("{}\n", health.status)),
        (Err(_), _) => Err(Failure::Failed(format!(
            "the answer of {} to GET {path} is not that of a Styx server; choose another one with \
             --host",
            client.address()
        ))),
    }
}

/// A client of the server with this configuration.
fn of_configuration(arguments: &HealthArguments) -> Result<Builder, Failure> {
    let config = serve::load(arguments.config.as_deref(), &[])?.config;
    let address = address(&config)?;
    match config.tls.certificate {
        Some(certificate) if !address.starts_with("unix:") => {
            Ok(Client::builder(&format!("styxs://{address}")).exact_certificate(certificate))
        }
        _ => Ok(Client::builder(&address)),
    }
}

/// The address at which a server with this configuration can be asked on its own machine.
fn address(config: &Config) -> Result<String, Failure> {
    let all = config.admin_address.iter().chain(&config.bind_addresses);
    let unix = all.clone().find(|address| address.is_unix());
    match unix.or_else(|| all.clone().next()) {
        Some(BindAddress::Tcp { port: 0, .. }) | None => Err(Failure::Failed(
            "the configuration says that the system chooses the port: pass the address with --host"
                .to_owned(),
        )),
        Some(BindAddress::Tcp { host, port }) => Ok(match host.as_str() {
            // Every interface, so also this one.
            "" | "0.0.0.0" => format!("127.0.0.1:{port}"),
            "::" => format!("[::1]:{port}"),
            host if host.contains(':') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        }),
        Some(address @ BindAddress::Unix(_)) => Ok(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], admin: Option<&str>, expected: &str) {
        let parsed = |text: &&str| text.parse().expect("an address");
        let config = Config {
            bind_addresses: addresses.iter().map(parsed).collect(),
            admin_address: admin.as_ref().map(parsed),
            ..Config::default()
        };
        assert_eq!(address(&config).ok().as_deref(), Some(expected), "{addresses:?} {admin:?}");
    }

    #[test]
    fn server_is_asked_where_no_certificate_is_needed_and_on_its_own_machine() {
        check(&["127.0.0.1:7123"], None, "127.0.0.1:7123");
        check(&[":7124"], None, "127.0.0.1:7124");
        check(&["0.0.0.0:1", "10.0.0.1:2"], None, "127.0.0.1:1");
        check(&["[::]:1"], None, "[::1]:1");
        check(&["[fd00::1]:1"], None, "[fd00::1]:1");
        check(&["db:1"], Some("127.0.0.1:2"), "127.0.0.1:2");
        check(&["db:1", "unix:///run/s"], Some("127.0.0.1:2"), "unix:///run/s");
    }

    #[test]
    fn port_that_the_system_chooses_is_not_known() {
        let bind_addresses = vec!["127.0.0.1:0".parse().expect("an address")];
        let config = Config { bind_addresses, ..Config::default() };
        assert!(address(&config).is_err());
    }
}
