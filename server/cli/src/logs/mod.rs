//! `styx logs …`: one file per group of commands. All use the client core.

mod archive;
mod input;
mod manage;
mod over_http;
mod printer;
mod read;
mod selection;
mod write;

use crate::command_line::{Global, LogsCommand};
use crate::failure::Failure;
use crate::server;

/// Runs one of the commands.
pub(crate) fn run(command: LogsCommand, global: &Global) -> Result<(), Failure> {
    let client = server::client(global)?;
    let format = global.format;
    match command {
        LogsCommand::List { watch: false } => manage::list(&client, format),
        LogsCommand::List { watch: true } => manage::watch(&client, format),
        LogsCommand::Create(create) => manage::create(&client, &create, format),
        LogsCommand::Adopt { name } => manage::adopt(&client, &name, format),
        LogsCommand::Get { name } => manage::get(&client, &name, format),
        LogsCommand::Delete { name } => Ok(client.delete_log(&name)?),
        LogsCommand::Truncate { name } => Ok(client.truncate_log(&name)?),
        LogsCommand::Trim { name, position } => manage::trim(&client, &name, position, format),
        LogsCommand::Backup { name } => archive::backup(&client, &name),
        LogsCommand::Restore { name } => archive::restore(&client, &name),
        LogsCommand::Write(arguments) => write::run(&client, &arguments),
        LogsCommand::Read(arguments) => read::run(&client, &arguments, format),
    }
}
