//! What the daemon is told before it starts: the TOML file of Styx 0.x with a
//! few keys more, the environment, and flags.
//!
//! ```text
//! defaults < file < environment (STYX_…) < flags  →  checked Config
//! ```
//!
//! Every key stands once, in `keys`; loading, printing, environment names and
//! the hint for a mistyped key all come from that table. Whoever holds a
//! [`Config`] need not check it again.

mod address;
mod keys;
mod load;
mod print;
mod value;

use std::path::PathBuf;
use std::time::Duration;

pub use address::BindAddress;
pub use load::{Error, Loaded};

/// The daemon's configuration. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the process id is written and locked; `None`: nowhere.
    pub pid_file: Option<PathBuf>,
    /// Where to listen.
    pub bind_address: BindAddress,
    /// How long a stopping server waits for what is under way.
    pub shutdown_timeout: Duration,
    /// Patterns of browser origins that may use the server; `*` stands for any
    /// run of characters.
    pub cors_allowed_origins: Vec<String>,
    /// Largest block of memory one HTTP connection reads into.
    pub http_read_buffer_size: usize,
    /// Kept for files of 0.x; answers are streamed without such a buffer.
    pub http_write_buffer_size: usize,
    /// Read buffer of a styx/0 connection.
    pub tcp_read_buffer_size: usize,
    /// Write buffer of a styx/0 connection.
    pub tcp_write_buffer_size: usize,
    /// How long a peer may stay silent, or not read, in the middle of something.
    pub tcp_timeout: Duration,
    /// Read buffer of a WebSocket connection.
    pub websocket_read_buffer_size: usize,
    /// Write buffer of a WebSocket connection.
    pub websocket_write_buffer_size: usize,
    /// Connections served at a time; more are answered 503.
    pub max_connections: usize,
    /// Bytes of request bodies that may be in memory at a time, in all.
    pub max_in_flight_bytes: usize,
    /// Bytes of answers that may wait to be sent at a time, in all; while there are
    /// more, each is read and sent in small pieces.
    pub max_answer_bytes: usize,
    /// Threads that serve connections; 0: half the cores.
    pub worker_threads: usize,
    /// How long a kept-alive connection may be without a request.
    pub idle_timeout: Duration,
    /// The logs.
    pub log_manager: LogManager,
    /// StatsD gauges; `None`: off.
    pub statsd: Option<Statsd>,
}

/// `[log_manager]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogManager {
    /// Where the logs are; created if it is not there.
    pub data_directory: PathBuf,
    /// Bytes read from a log at a time, and about the most that one long-polling
    /// answer holds.
    pub read_buffer_size: usize,
    /// Kept for files of 0.x; commits are sized by what waits.
    pub write_buffer_size: usize,
    /// Start every commit on a 4 KiB boundary, for media on which an
    /// interrupted sector write may leave neither old nor new bytes.
    pub pad_commits: bool,
    /// Bytes from which on a commit is written past the page cache (`O_DIRECT`),
    /// where the filesystem has that.
    pub direct_write_size: usize,
    /// Bytes of finished segments that are read again each second, once a day, to
    /// find damage; 0 for not at all.
    pub scrub_bytes_per_second: usize,
}

/// `[metrics.statsd]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statsd {
    /// `udp`; anything else is a warning and switches StatsD off.
    pub protocol: String,
    /// `host:port` of the StatsD server.
    pub address: String,
    /// What every gauge's name begins with; may be empty.
    pub prefix: String,
}

const MIB: usize = 1 << 20;

impl Default for Config {
    fn default() -> Config {
        Config {
            pid_file: None,
            bind_address: BindAddress::default(),
            shutdown_timeout: Duration::from_secs(3),
            cors_allowed_origins: vec!["*".to_owned()],
            http_read_buffer_size: MIB,
            http_write_buffer_size: MIB,
            tcp_read_buffer_size: MIB,
            tcp_write_buffer_size: MIB,
            tcp_timeout: Duration::from_secs(30),
            websocket_read_buffer_size: MIB,
            websocket_write_buffer_size: MIB,
            max_connections: 15_000,
            max_in_flight_bytes: 256 * MIB,
            max_answer_bytes: 64 * MIB,
            worker_threads: 0,
            idle_timeout: Duration::from_secs(120),
            log_manager: LogManager {
                data_directory: PathBuf::from("./data"),
                read_buffer_size: MIB,
                write_buffer_size: MIB,
                pad_commits: false,
                direct_write_size: 512 << 10,
                scrub_bytes_per_second: 16 * MIB,
            },
            statsd: None,
        }
    }
}
