//! `styx cursors …`: lists, shows, sets and deletes the cursors of a log. Each command is one request.

use styx_client::CursorInfo;

use crate::command_line::{CursorsCommand, Format, Global};
use crate::failure::Failure;
use crate::{output, server, table};

/// Runs one of the commands.
pub(crate) fn run(command: &CursorsCommand, global: &Global) -> Result<(), Failure> {
    let client = server::client(global)?;
    match command {
        CursorsCommand::List { log } => {
            let cursors = client.list_cursors(log)?;
            match global.format {
                Format::Json => output::print(&output::json(&cursors)?),
                Format::Text => output::print(&table::cursor_list(&cursors)),
            }
        }
        CursorsCommand::Get { log, cursor } => print(&client.get_cursor(log, cursor)?, global),
        CursorsCommand::Set { log, cursor, position } => {
            print(&client.set_cursor(log, cursor, *position)?, global)
        }
        CursorsCommand::Delete { log, cursor } => Ok(client.delete_cursor(log, cursor)?),
    }
}

fn print(cursor: &CursorInfo, global: &Global) -> Result<(), Failure> {
    match global.format {
        Format::Json => output::print(&output::json(cursor)?),
        Format::Text => output::print(&table::cursor(cursor)),
    }
}
