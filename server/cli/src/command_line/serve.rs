//! The flags of `styx serve`, and of the 0.x server.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

const PRECEDENCE: &str = "\
Flags override environment variables (STYX_BIND_ADDRESS and so on), which override the
configuration file. No file is required. An empty variable counts as unset.";

/// The flags of `styx serve`.
#[derive(Debug, Args, Default)]
#[command(after_help = PRECEDENCE)]
pub(crate) struct Serve {
    /// Configuration file (TOML)
    #[arg(short, long, env = "STYX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the effective configuration as a file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check the configuration and exit; unknown keys are errors
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    /// Measure the storage of the data directory, explain it and exit; the exit code is 1 if the
    /// storage cannot keep what an acknowledgement promises
    #[arg(long, conflicts_with_all = ["print_config", "check_config"])]
    pub(crate) check_storage: bool,
    /// Address to listen on, HOST:PORT or unix:///PATH; :7123 means all interfaces; repeat the flag
    /// for more addresses
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) bind_address: Vec<String>,
    /// Listen on an address that others can reach, even without access control or TLS
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Directory for the logs
    #[arg(short, long, value_name = "DIR")]
    pub(crate) data_directory: Option<String>,
    /// Only read the logs of another server, from its archive at this URL, and follow them;
    /// see docs/archive.md
    #[arg(long, value_name = "URL")]
    pub(crate) replica_of: Option<String>,
    /// File for the process id; it is locked while the server runs
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<String>,
    /// Write the port to this file when connections are accepted; it is removed at a clean stop
    #[arg(long, value_name = "FILE")]
    pub(crate) port_file: Option<PathBuf>,
    /// Stop when the process that started this server ends; with its id, the server also notices
    /// that it ended before the server started
    #[arg(long, value_name = "PID", require_equals = true)]
    pub(crate) exit_with_parent: Option<Option<u32>>,
    /// Serve with TLS and a certificate for this host name or address that the server signs itself,
    /// for a first try; it is created in the data directory if it is not there, and its path is
    /// printed for --ca-file of clients
    #[arg(long, value_name = "NAME", conflicts_with_all = ["print_config", "check_config", "check_storage"])]
    pub(crate) generate_self_signed: Option<String>,
    /// Any other configuration key, for example --set log_manager.pad_commits=true; the value is
    /// as --print-config prints it, and a list may also be a,b
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Log level; STYX_LOG or RUST_LOG set it per module
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// Format of the server's own log, which goes to standard error
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
    /// The same as error, for compatibility with 0.x
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
    /// The flags as configuration keys. Later entries override earlier ones.
    pub(crate) fn overrides(&self) -> Vec<(String, String)> {
        let addresses = (!self.bind_address.is_empty()).then(|| self.bind_address.join(","));
        let flags = [
            ("bind_address", &addresses),
            ("log_manager.data_directory", &self.data_directory),
            ("archive.replica_of", &self.replica_of),
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

/// The Styx server with the flags of 0.x; `styx serve` has more flags.
#[derive(Debug, Parser)]
#[command(name = "styx-server", version)]
pub(crate) struct ServerCommandLine {
    /// Configuration file (TOML)
    #[arg(long, default_value = "./config.toml", value_name = "FILE")]
    config: PathBuf,
    /// Log level: TRACE, DEBUG, INFO, WARN, ERROR or FATAL
    #[arg(long, value_enum, ignore_case = true, hide_possible_values = true)]
    #[arg(value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

impl From<ServerCommandLine> for Serve {
    fn from(line: ServerCommandLine) -> Serve {
        Serve { config: Some(line.config), log_level: line.log_level, ..Serve::default() }
    }
}
