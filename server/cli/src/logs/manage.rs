//! Commands that send one small request: list, create, adopt, get, trim.

use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;
use styx_client::blocking::Client;
use styx_client::{ListedLog, LogInfo, LogStatus};

use crate::command_line::{CreateArguments, Format};
use crate::failure::Failure;
use crate::output::{self, json};
use crate::table;

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn list(client: &Client, format: Format) -> Result<(), Failure> {
    output::print(&fetch_list(client, format)?)
}

/// Prints the list again and again. On a terminal it overwrites the previous list.
pub(super) fn watch(client: &Client, format: Format) -> Result<(), Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    if on_terminal {
        output::print("\x1b[2J")?;
    }
    loop {
        let list = fetch_list(client, format)?;
        if on_terminal {
            let text = list.replace('\n', "\x1b[K\n");
            output::print(&format!("\x1b[H{text}\x1b[J"))?;
        } else {
            output::print(&list)?;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn fetch_list(client: &Client, format: Format) -> Result<String, Failure> {
    let listed = client.list_logs_with_archive()?;
    let position = |log: &ListedLog| log.archived_position;
    match (format, listed.iter().any(|log| position(log).is_some())) {
        // Without an archive, the output is that of earlier versions.
        (Format::Text, false) => {
            let infos: Vec<LogInfo> = listed.into_iter().map(|log| log.info).collect();
            Ok(table::log_list(&infos))
        }
        (Format::Text, true) => Ok(table::archived_log_list(
            &listed.iter().map(|log| (&log.info, position(log))).collect::<Vec<_>>(),
        )),
        (Format::Json, _) => json(
            &listed
                .iter()
                .map(|log| ArchivedLog { info: &log.info, archived_position: position(log) })
                .collect::<Vec<_>>(),
        ),
    }
}

pub(super) fn create(
    client: &Client,
    create: &CreateArguments,
    format: Format,
) -> Result<(), Failure> {
    print_info(&client.create_log(&create.name, create.config(), false)?, format)
}

pub(super) fn adopt(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    print_info(&client.adopt_log(name)?, format)
}

pub(super) fn get(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    let info = client.get_log(name)?;
    // Servers of earlier versions have no details, and neither has a log that is not open.
    let archived = match info.status {
        LogStatus::Ok | LogStatus::Tainted => client.get_log_details(name).ok(),
        _ => None,
    };
    let archived = archived.and_then(|details| details.archived_position);
    match (archived, format) {
        (None, _) => print_info(&info, format),
        (Some(position), Format::Text) => output::print(&table::archived_log_info(&info, position)),
        (Some(archived_position), Format::Json) => {
            let archived_position = Some(archived_position);
            output::print(&json(&ArchivedLog { info: &info, archived_position })?)
        }
    }
}

/// The output of `get` and of `list`, with the archived position if the server has an archive.
#[derive(Serialize)]
struct ArchivedLog<'a> {
    #[serde(flatten)]
    info: &'a LogInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_position: Option<u64>,
}

pub(super) fn trim(
    client: &Client,
    name: &str,
    position: u64,
    format: Format,
) -> Result<(), Failure> {
    print_info(&client.trim_log(name, position)?, format)
}

fn print_info(info: &LogInfo, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print(&json(info)?),
        Format::Text => output::print(&table::log_info(info)),
    }
}
