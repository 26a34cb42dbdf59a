//! The commands that are one small request: list, create, get, delete,
//! truncate, trim.

use std::io::IsTerminal;
use std::time::Duration;

use styx_protocol::LogInfo;

use super::path;
use crate::command_line::{Create, Format};
use crate::failure::Failure;
use crate::http::{self, Answer, Body, Call, Client};
use crate::{output, table};

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn list(client: &Client, format: Format) -> Result<(), Failure> {
    output::write(&fetch_list(client, format)?)
}

/// Draws the list over the one before, or below it if nobody looks.
pub(super) fn watch(client: &Client, format: Format) -> Result<(), Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    if on_terminal {
        output::print("\x1b[2J")?;
    }
    loop {
        let list = fetch_list(client, format)?;
        if on_terminal {
            let text = String::from_utf8_lossy(&list).replace('\n', "\x1b[K\n");
            output::print(&format!("\x1b[H{text}\x1b[J"))?;
        } else {
            output::write(&list)?;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn fetch_list(client: &Client, format: Format) -> Result<Vec<u8>, Failure> {
    let json = client.send(&Call::get("/logs"), Body::None)?.bytes()?;
    match format {
        Format::Json => Ok(json),
        Format::Text => {
            let infos: Vec<LogInfo> = serde_json::from_slice(&json).map_err(not_understood)?;
            Ok(table::log_list(&infos).into_bytes())
        }
    }
}

pub(super) fn create(client: &Client, create: &Create, format: Format) -> Result<(), Failure> {
    let config: Vec<_> = create.config().into_iter().map(|(n, v)| (n, v.to_string())).collect();
    let pairs = config.iter().map(|(name, value)| (*name, value.as_str()));
    let form = http::form(std::iter::once(("name", create.name.as_str())).chain(pairs));
    let call = Call::post("/logs").header("content-type", "application/x-www-form-urlencoded");
    print_info(client.send(&call, Body::Bytes(form.as_bytes()))?, format)
}

pub(super) fn get(client: &Client, name: &str, format: Format) -> Result<(), Failure> {
    print_info(client.send(&Call::get(path(name, "")?), Body::None)?, format)
}

pub(super) fn delete(client: &Client, name: &str) -> Result<(), Failure> {
    client.send(&Call::delete(path(name, "")?), Body::None)?;
    Ok(())
}

pub(super) fn truncate(client: &Client, name: &str) -> Result<(), Failure> {
    client.send(&Call::post(path(name, "/truncate")?), Body::Bytes(&[]))?;
    Ok(())
}

pub(super) fn trim(
    client: &Client,
    name: &str,
    position: u64,
    format: Format,
) -> Result<(), Failure> {
    let call = Call::post(path(name, "/trim")?).query("position", position);
    print_info(client.send(&call, Body::Bytes(&[]))?, format)
}

fn print_info(answer: Answer, format: Format) -> Result<(), Failure> {
    let json = answer.bytes()?;
    match format {
        Format::Json => output::write(&json),
        Format::Text => {
            let info: LogInfo = serde_json::from_slice(&json).map_err(not_understood)?;
            output::print(&table::log_info(&info))
        }
    }
}

fn not_understood(error: serde_json::Error) -> Failure {
    Failure::Failed(format!("the server's answer is not as expected: {error}"))
}
