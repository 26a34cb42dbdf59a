//! `styx logs …`: one file a group of commands, each a few HTTP requests.

mod archive;
mod batches;
mod manage;
mod read;
mod write;

use styx_protocol::LogName;

use crate::command_line::{DEFAULT_HOST, Global, LogsCommand};
use crate::failure::Failure;
use crate::http::Client;

/// Runs one of the commands.
pub(crate) fn run(command: LogsCommand, global: &Global) -> Result<(), Failure> {
    let client = Client::new(global.host.as_deref().unwrap_or(DEFAULT_HOST))?;
    let format = global.format;
    match command {
        LogsCommand::List { watch: false } => manage::list(&client, format),
        LogsCommand::List { watch: true } => manage::watch(&client, format),
        LogsCommand::Create(create) => manage::create(&client, &create, format),
        LogsCommand::Get { name } => manage::get(&client, &name, format),
        LogsCommand::Delete { name } => manage::delete(&client, &name),
        LogsCommand::Truncate { name } => manage::truncate(&client, &name),
        LogsCommand::Trim { name, position } => manage::trim(&client, &name, position, format),
        LogsCommand::Backup { name } => archive::backup(&client, &name),
        LogsCommand::Restore { name } => archive::restore(&client, &name),
        LogsCommand::Write(arguments) => write::run(&client, &arguments),
        LogsCommand::Read(arguments) => read::run(&client, &arguments),
    }
}

/// The path of a log, and what follows it there. A name that cannot be one
/// never gets into a path.
fn path(name: &str, rest: &str) -> Result<String, Failure> {
    let name: LogName = name
        .parse()
        .map_err(|error: styx_protocol::log::InvalidName| Failure::Failed(error.to_string()))?;
    Ok(format!("/logs/{name}{rest}"))
}
