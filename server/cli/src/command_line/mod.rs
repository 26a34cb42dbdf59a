//! The command line as clap reads it: every command and flag, and nothing of
//! what they do.

mod logs;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use styx_protocol::LogName;

pub(crate) use logs::{Create, LogsCommand, Read, Write};
pub(crate) use serve::{LogFormat, LogLevel, Serve, ServerCommandLine};

/// Where the server is expected if nothing else is said.
pub(crate) const DEFAULT_HOST: &str = "http://localhost:7123";

/// Styx: event streaming in one binary.
#[derive(Debug, Parser)]
#[command(name = "styx", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that may stand anywhere on the line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands that talk to a server")]
pub(crate) struct Global {
    /// Server to talk to [default: http://localhost:7123]
    #[arg(short = 'H', long, global = true, env = "STYX_HOST", value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Bearer token, for a server behind a proxy that wants one
    #[arg(long, global = true, env = "STYX_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// PEM file with the authority that vouches for the server [default: the system's]
    #[arg(long, global = true, env = "STYX_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How to print what the server answers
    #[arg(short, long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(value_name = "text|json")]
    pub(crate) format: Format,
}

impl Global {
    /// The server that is meant.
    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(DEFAULT_HOST)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Serve),
    /// Manage, write and read logs
    #[command(subcommand, arg_required_else_help = true)]
    Logs(LogsCommand),
    /// Measure a server, and the machine's own limits beside it
    Benchmark(styx_benchmark::Arguments),
    /// Read every record of a stopped server's data directory and say what is damaged
    Verify {
        /// The data directory
        #[arg(value_name = "DIR", default_value = "./data")]
        directory: PathBuf,
    },
    /// Make a usable log of a damaged one, and set the damaged one aside
    ///
    /// Positions have no gaps, so a repair keeps one unbroken range of records and loses the others.
    /// Without --yes it only says what it would do. A backup, if there is one, is better.
    Repair(Repair),
    /// Copy the logs of a Styx 0.x data directory into one of this version
    ///
    /// Stop the 0.x server first. Its directory is only read. Every record is checked; a damaged
    /// log is reported and not copied, the others are. Positions and configurations stay.
    Import(Import),
    /// Print the version
    Version,
    /// Print a script that makes a shell complete these commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The data directory, of a server that is stopped
    #[arg(value_name = "DIR", default_value = "./data")]
    pub(crate) directory: PathBuf,
    /// The damaged log
    #[arg(long, value_name = "NAME")]
    pub(crate) log: LogName,
    /// Which of the ranges that can be read is kept
    #[arg(long, value_enum, default_value = "longest")]
    pub(crate) keep: KeepRange,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeepRange {
    /// The one with the most records
    Longest,
    /// The oldest records, up to the first damage
    First,
    /// The newest records, from the last damage on
    Last,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The data directory of Styx 0.x
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Where the logs are to be kept; created if it is not there, and not in use by a server
    #[arg(short, long, env = "STYX_DATA_DIRECTORY", value_name = "NEW", default_value = "./data")]
    pub(crate) data_directory: PathBuf,
    /// Copy these logs alone
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) log: Vec<LogName>,
}

/// The definition of the command that the arguments name, for its usage.
pub(crate) fn at_hand(mut command: clap::Command, arguments: &[OsString]) -> clap::Command {
    command.build();
    for argument in arguments.iter().skip(1) {
        if let Some(found) = command.find_subcommand(argument).cloned() {
            command = found;
        }
    }
    command
}

#[cfg(test)]
mod tests;
