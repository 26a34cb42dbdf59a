//! `styx serve`: loads the configuration from flags, environment and file, and runs the
//! server.

use std::path::Path;

use rustix::process::getppid;
use styx_server::config::{Config, Loaded};
use styx_server::{RunOptions, generate_self_signed};

use crate::command_line::Serve;
use crate::failure::Failure;
use crate::{check_storage, logging, output};

/// Runs the server until it is stopped, or does what a flag such as `--print-config`
/// asks. `host` is a flag of the client commands, which is refused here.
pub(crate) fn run(arguments: Serve, host: Option<&str>) -> Result<(), Failure> {
    let parent = arguments.exit_with_parent.map(parent).transpose()?;
    if host.is_some() && std::env::var_os("STYX_HOST").is_none_or(|host| host.is_empty()) {
        let message = "--host is the server that other commands connect to; use --bind-address to choose where to listen";
        return Err(Failure::Misuse(message.to_owned()));
    }
    let mut loaded = load(arguments.config.as_deref(), &arguments.overrides())?;
    if arguments.check_config {
        return check(&loaded, &arguments);
    }
    if arguments.print_config {
        for warning in &loaded.warnings {
            eprintln!("Warning: {warning}");
        }
        return output::print(&loaded.config.to_toml());
    }
    if arguments.check_storage {
        return check_storage::run(&loaded.config.log_manager.data_directory);
    }
    if let Some(name) = &arguments.generate_self_signed {
        use_self_signed(&mut loaded.config, name)?;
    }
    loaded.check_exposure(arguments.insecure).map_err(Failure::Failed)?;
    logging::start(arguments.log_level, arguments.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let options = RunOptions { port_file: arguments.port_file, parent };
    styx_server::run(loaded.config, options).map_err(|error| Failure::Failed(error.to_string()))
}

/// Serves with a certificate that this server signs itself, and says how clients use it.
fn use_self_signed(config: &mut Config, name: &str) -> Result<(), Failure> {
    if config.tls.certificate.is_some() {
        let message = "--generate-self-signed and tls.certificate exclude each other; \
                       remove one of them";
        return Err(Failure::Misuse(message.to_owned()));
    }
    let directory = &config.log_manager.data_directory;
    let files = generate_self_signed(directory, name)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let origin = if files.is_new { "a new" } else { "the" };
    let path = files.certificate.display();
    eprintln!(
        "This server uses {origin} self-signed certificate for {name}: {path}\n\
         Clients need a copy of this file: styx --ca-file {path} --host styxs://{name}:PORT logs list"
    );
    config.tls.certificate = Some(files.certificate);
    config.tls.key = Some(files.key);
    Ok(())
}

/// The id of the parent process: the one that is named, or the current one. Orphans belong to
/// process 1, so it is not the current one unless it is named.
fn parent(named: Option<u32>) -> Result<u32, Failure> {
    let current = getppid().and_then(|id| u32::try_from(id.as_raw_nonzero().get()).ok());
    match named.or(current.filter(|id| *id != 1)) {
        Some(id) => Ok(id),
        None => Err(Failure::Failed(
            "the process that started this server has ended, or its id is not known: \
             pass its id with --exit-with-parent=PID"
                .to_owned(),
        )),
    }
}

/// The configuration from a file, the environment and flags.
pub(crate) fn load(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Loaded, Failure> {
    Config::load(file, environment(), overrides).map_err(|error| Failure::Failed(error.to_string()))
}

/// The environment for the configuration. Variables that are not Unicode are none of its keys.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn check(loaded: &Loaded, arguments: &Serve) -> Result<(), Failure> {
    loaded.check_exposure(arguments.insecure).map_err(Failure::Failed)?;
    if !loaded.warnings.is_empty() {
        return Err(Failure::Failed(loaded.warnings.join("\nError: ")));
    }
    match &arguments.config {
        Some(path) => output::print(&format!("{} is valid\n", path.display())),
        None => output::print("the configuration is valid\n"),
    }
}
