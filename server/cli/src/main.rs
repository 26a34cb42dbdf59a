//! `styx`: the server and the command line in one binary.
//!
//! ```text
//! arguments → command_line (clap) → serve | logs/… | cursors | token | health | top | benchmark | verify | repair | import | archive | completions | manual → exit code
//! ```
//!
//! Exit codes: 0 success, 1 failure (`Error: <message>` on standard error), 2 misuse
//! (usage on standard error). If the binary is started with the name `styx-server`, it
//! takes the flags of the 0.x server instead.

#[cfg(feature = "archive")]
mod archive;
mod benchmark;
mod check_storage;
mod command_line;
mod completions;
mod cursors;
mod failure;
mod health;
mod import;
mod logging;
mod logs;
mod manual;
mod output;
mod progress;
mod repair;
mod serve;
mod server;
mod signed_token;
mod table;
mod token;
mod top;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use command_line::{Command, CommandLine, Format, ServerCommandLine};
use failure::Failure;

/// jemalloc, because the system's allocator keeps pages that thousands of idle
/// connections have used before; see docs/decisions/0008.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (done, definition) = if is_old_server(arguments.first()) {
        let line = command_line::parse(&arguments).map_err(Failure::from);
        (
            line.and_then(|line: ServerCommandLine| serve::run(line.into(), None)),
            ServerCommandLine::command(),
        )
    } else {
        let line = command_line::parse(&arguments).map_err(Failure::from);
        (line.and_then(run), CommandLine::command())
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(command_line::selected(definition, &arguments)),
    }
}

/// Whether the binary was started by a link with the name of the 0.x server.
fn is_old_server(program: Option<&OsString>) -> bool {
    let name = program.and_then(|program| std::path::Path::new(program).file_stem());
    name.is_some_and(|name| name == "styx-server")
}

fn run(line: CommandLine) -> Result<(), Failure> {
    let global = line.global;
    match line.command {
        Command::Serve(arguments) => serve::run(arguments, global.host.as_deref()),
        Command::Logs(command) => logs::run(command, &global),
        Command::Cursors(command) => cursors::run(&command, &global),
        Command::Token(command) => token::run(command, global.format),
        Command::Health(arguments) => health::run(&arguments, &global),
        Command::Top(arguments) => top::run(&arguments, &global),
        Command::Benchmark(arguments) => benchmark::run(&arguments, &global),
        Command::Verify { directory } => verify::run(&directory, global.format),
        Command::Repair(arguments) => repair::run(&arguments, global.format),
        Command::Import(arguments) => import::run(&arguments, global.format),
        #[cfg(feature = "archive")]
        Command::Restore(arguments) => archive::run_restore(&arguments, global.format),
        #[cfg(feature = "archive")]
        Command::Archive(command) => archive::run(command, global.format),
        Command::Completions { shell } => completions::run(shell),
        Command::Manual { directory } => manual::run(&directory),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            match global.format {
                Format::Text => output::print(&format!("styx {version}\n")),
                Format::Json => output::print(&format!("{{\n  \"version\": \"{version}\"\n}}\n")),
            }
        }
    }
}
