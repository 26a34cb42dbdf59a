//! `styx serve`: loads the configuration from flags, environment and file, and runs the
//! server.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use styx_server::config::{Config, Loaded};

use crate::command_line::Serve;
use crate::failure::Failure;
use crate::{check_storage, logging, output};

/// Runs the server until it is stopped, or does what a flag such as `--print-config`
/// asks. `host` is a flag of the client commands, which is refused here.
pub(crate) fn run(arguments: Serve, host: Option<&str>) -> Result<(), Failure> {
    if host.is_some() && std::env::var_os("STYX_HOST").is_none_or(|host| host.is_empty()) {
        let message = "--host is the server that other commands connect to; use --bind-address to choose where to listen";
        return Err(Failure::Misuse(message.to_owned()));
    }
    let loaded = load(&arguments)?;
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
    if let Some(parent) = arguments.end_with {
        end_with(parent)?;
    }
    logging::start(arguments.log_level, arguments.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    styx_server::run(loaded.config).map_err(|error| Failure::Failed(error.to_string()))
}

/// Makes the kernel kill this process when the thread that started it ends.
fn end_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
        Failure::Failed(format!("cannot watch the parent process {parent}: {error}"))
    })?;
    // The parent may have ended before the call above.
    if getppid() != Pid::from_raw(parent) {
        return Err(Failure::Failed(format!(
            "process {parent} is not the parent of this server, or has ended"
        )));
    }
    Ok(())
}

fn load(arguments: &Serve) -> Result<Loaded, Failure> {
    // Variables that are not Unicode are not keys of the configuration.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(arguments.config.as_deref(), environment, &arguments.overrides())
        .map_err(|error| Failure::Failed(error.to_string()))
}

fn check(loaded: &Loaded, arguments: &Serve) -> Result<(), Failure> {
    if !loaded.warnings.is_empty() {
        return Err(Failure::Failed(loaded.warnings.join("\nError: ")));
    }
    match &arguments.config {
        Some(path) => output::print(&format!("{} is valid\n", path.display())),
        None => output::print("the configuration is valid\n"),
    }
}
