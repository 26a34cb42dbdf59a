//! `styx top`: the logs of a server and what happens to them, on the terminal.
//!
//! ```text
//! feed (thread) ─ samples ─▶ state ─▶ screen ─▶ terminal
//!      ▲                      ▲
//!      └────── effects ───────┴─ input ◀─ keys
//! ```
//! Invariant: the terminal is restored however the command ends: a key, a signal, an error or a
//! panic.

mod format;
mod input;
mod json;
mod rates;
mod sample;
mod screen;
mod state;
mod terminal;
#[cfg(test)]
mod testing;

use std::io::IsTerminal as _;

use crate::command_line::{Format, Global, TopArguments};
use crate::failure::Failure;
use crate::{output, server};
use sample::Feed;
use screen::Screen;
use state::State;

pub(crate) use state::SortKey;

/// Shows the server until a key or a signal ends it, or prints it once.
pub(crate) fn run(arguments: &TopArguments, global: &Global) -> Result<(), Failure> {
    let mut state = State::new(arguments.sort, arguments.filter.clone());
    if !arguments.once {
        if global.format == Format::Json {
            let message = "--format json needs --once";
            return Err(Failure::Misuse(message.to_owned()));
        }
        if !std::io::stdout().is_terminal() {
            let message = "standard output is not a terminal: add --once to print the numbers once";
            return Err(Failure::Misuse(message.to_owned()));
        }
    }
    let client = server::client(global)?;
    // Before the screen is taken, so that a wrong address or token is an ordinary error.
    state.sampled(sample::fetch(&client)?);
    if arguments.once {
        std::thread::sleep(arguments.interval);
        state.sampled(sample::fetch(&client)?);
        return print(&state, global.format);
    }
    let screen = Screen {
        address: client.address().to_string(),
        interval: arguments.interval,
        has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    terminal::show(&screen, &mut state, || Feed::start(client, arguments.interval))
}

fn print(state: &State, format: Format) -> Result<(), Failure> {
    let Some(server) = &state.server else { return Ok(()) };
    match format {
        Format::Json => output::print(&output::json(&json::report(server, state))?),
        Format::Text => {
            for warning in &server.warnings {
                eprintln!("Warning: {}", warning.message);
            }
            output::print(&json::table(state))
        }
    }
}
