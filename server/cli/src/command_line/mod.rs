//! The command line as clap parses it: every command and flag, but not what they do.

#[cfg(feature = "archive")]
mod archive;
mod cursors;
mod health;
mod logs;
mod moment;
mod serve;
mod token;
mod top;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use styx_protocol::LogName;

#[cfg(feature = "archive")]
pub(crate) use archive::{
    AdoptArguments, ArchiveCommand, CollectArguments, CopyArguments, RestoreArguments,
    StatusArguments, StoreArguments, UndeleteArguments, VerifyArguments,
};
pub(crate) use cursors::CursorsCommand;
pub(crate) use health::HealthArguments;
pub(crate) use logs::{CreateArguments, LogsCommand, ReadArguments, WriteArguments};
pub(crate) use moment::Moment;
pub(crate) use serve::{LogFormat, LogLevel, Serve, ServerCommandLine};
pub(crate) use token::{SignArguments, TokenCommand, TokenFileArguments};
pub(crate) use top::TopArguments;

/// The server if neither `--host` nor `STYX_HOST` is given.
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

/// Flags that are accepted anywhere on the line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for commands that connect to a server")]
pub(crate) struct Global {
    /// Server to connect to [default: http://localhost:7123]
    #[arg(short = 'H', long, global = true, env = "STYX_HOST", value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Token, for a server with access control
    #[arg(long, global = true, env = "STYX_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// PEM file with the CA certificate of the server [default: the system's CA certificates]
    #[arg(long, global = true, env = "STYX_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(value_name = "text|json")]
    pub(crate) format: Format,
}

impl Global {
    /// The URL of the server.
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
    /// Manage cursors: the durable, named positions of consumers in a log
    #[command(subcommand, arg_required_else_help = true)]
    Cursors(CursorsCommand),
    /// Manage the tokens of a server: who may read, append, manage and observe logs
    #[command(subcommand, arg_required_else_help = true)]
    Token(TokenCommand),
    /// Ask a server whether it works: the exit code is 0 if it does, and 1 if it does not
    Health(HealthArguments),
    /// Watch a server: its logs with their rates, sizes and lags, connections, disk and warnings
    Top(TopArguments),
    /// Measure a server and the limits of its machine
    Benchmark(styx_benchmark::Arguments),
    /// Check every record in the data directory of a stopped server, and report damage
    Verify {
        /// The data directory
        #[arg(value_name = "DIR", default_value = "./data")]
        directory: PathBuf,
    },
    /// Replace a damaged log with its readable records, and set the damaged log aside
    ///
    /// Positions have no gaps, so a repair keeps one contiguous range of records and loses the others.
    /// Without --yes, it only reports what it would do. If you have a backup, restore it instead.
    Repair(Repair),
    /// Copy the logs of a Styx 0.x data directory into a data directory of this version
    ///
    /// Stop the 0.x server first. Its directory is only read. Every record is checked. A damaged log
    /// is reported and not copied; the others are copied. Positions and configurations are kept.
    Import(Import),
    /// Create the logs of an archive in a data directory; their history stays in the archive
    ///
    /// Each log ends where its archived part ends, and gets a new id. Records are read from the
    /// archive when they are needed, so a restore takes seconds. The archive is not changed.
    #[cfg(feature = "archive")]
    Restore(RestoreArguments),
    /// Look at the archive of a server, in its object store
    #[cfg(feature = "archive")]
    #[command(subcommand, arg_required_else_help = true)]
    Archive(ArchiveCommand),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory, one for each command
    #[command(name = "man", hide = true)]
    Manual {
        /// The directory; created if it does not exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The data directory of a stopped server
    #[arg(value_name = "DIR", default_value = "./data")]
    pub(crate) directory: PathBuf,
    /// The damaged log
    #[arg(long, value_name = "NAME")]
    pub(crate) log: LogName,
    /// Which readable range to keep
    #[arg(long, value_enum, default_value = "longest")]
    pub(crate) keep: KeepRange,
    /// Repair the log; without this flag, only report
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeepRange {
    /// The range with the most records
    Longest,
    /// The oldest records, up to the first damage
    First,
    /// The newest records, after the last damage
    Last,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The data directory of Styx 0.x
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Data directory for the copies; created if it does not exist; no server may use it
    #[arg(short, long, env = "STYX_DATA_DIRECTORY", value_name = "NEW", default_value = "./data")]
    pub(crate) data_directory: PathBuf,
    /// Copy only these logs
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) log: Vec<LogName>,
}

/// Parses the arguments. An empty environment variable counts as unset.
///
/// # Errors
/// The arguments are wrong, or ask for help.
pub(crate) fn parse<P: Parser>(arguments: &[OsString]) -> Result<P, clap::Error> {
    let command = without_empty_variables(P::command());
    P::from_arg_matches_mut(&mut command.try_get_matches_from(arguments)?)
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|argument| {
        let unset = argument.get_env().is_some_and(is_empty);
        if unset { argument.env(None::<&'static str>) } else { argument }
    });
    command.mut_subcommands(without_empty_variables)
}

/// The definition of the command that the arguments select, to print its usage.
pub(crate) fn selected(mut command: clap::Command, arguments: &[OsString]) -> clap::Command {
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
