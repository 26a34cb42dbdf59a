//! The flags of `styx serve`, and those of the 0.x server.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

/// Flags override the environment (STYX_BIND_ADDRESS and so on), which overrides the file; no
/// file is needed.
#[derive(Debug, Args, Default)]
pub(crate) struct Serve {
    /// Configuration file (TOML)
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the configuration in force, as a file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check the configuration and exit; keys that nothing knows are errors
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    /// Measure and explain the storage of the data directory, and exit: with 1 if it cannot keep
    /// what an acknowledgement promises
    #[arg(long, conflicts_with_all = ["print_config", "check_config"])]
    pub(crate) check_storage: bool,
    /// Where to listen; :7123 is every interface
    #[arg(short, long, value_name = "HOST:PORT")]
    pub(crate) bind_address: Option<String>,
    /// Where the logs are kept
    #[arg(short, long, value_name = "DIR")]
    pub(crate) data_directory: Option<String>,
    /// File for the process id, locked while the server runs
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<String>,
    /// End with the process of this id, which starts the server: for `styx benchmark`
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) end_with: Option<i32>,
    /// Any other key of the configuration, as in --set log_manager.pad_commits=true
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// How much to log; STYX_LOG or RUST_LOG say it in more detail
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// How to write the server's own log, on standard error
    #[arg(long, value_enum, default_value_t, env = "STYX_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// As error, for 0.x
    #[value(hide = true)]
    Fatal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Serve {
    /// The flags as keys of the configuration, in the order in which they win.
    pub(crate) fn overrides(&self) -> Vec<(String, String)> {
        let flags = [
            ("bind_address", &self.bind_address),
            ("log_manager.data_directory", &self.data_directory),
            ("pid_file", &self.pid_file),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| (key.to_owned(), value.clone())));
        self.set.iter().cloned().chain(flags).collect()
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("use KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The Styx server, started as in 0.x; `styx serve` knows more flags.
#[derive(Debug, Parser)]
#[command(name = "styx-server", version)]
pub(crate) struct ServerCommandLine {
    /// Configuration file (TOML)
    #[arg(long, default_value = "./config.toml", value_name = "FILE")]
    config: PathBuf,
    /// How much to log: TRACE, DEBUG, INFO, WARN, ERROR or FATAL
    #[arg(long, value_enum, ignore_case = true, hide_possible_values = true)]
    #[arg(value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

impl From<ServerCommandLine> for Serve {
    fn from(line: ServerCommandLine) -> Serve {
        Serve { config: Some(line.config), log_level: line.log_level, ..Serve::default() }
    }
}
