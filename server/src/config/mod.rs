//! The daemon's configuration: the TOML file of Styx 0.x with a few more keys, the
//! environment, and flags.
//!
//! ```text
//! defaults < file < environment (STYX_…) < flags  →  checked Config
//! ```
//!
//! Every key is defined once, in `keys`. Loading, printing, the names of environment
//! variables and the hint for a mistyped key all use that table. A [`Config`] is
//! checked and needs no further checks.

mod address;
mod archive;
mod environment;
mod exposure;
mod jwt;
mod keys;
mod load;
mod path;
mod per_log;
mod print;
mod tls;
mod unix_socket;
mod value;

use std::path::PathBuf;
use std::time::Duration;

pub use address::BindAddress;
pub use archive::{Archive, ArchiveUrl, UploadChecksum};
pub use exposure::BindSource;
pub use jwt::{Jwt, SigningAlgorithm};
pub use load::{Error, Loaded};
pub use per_log::PerLogMetrics;
pub use tls::{ClientAuth, Tls, TlsFiles, TlsVersion};
pub use unix_socket::{UnixSocketMode, UnixSocketOwner};

/// The daemon's configuration. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that holds the process id and is locked; `None` for no file.
    pub pid_file: Option<PathBuf>,
    /// The addresses to listen on, at least one and all different.
    pub bind_addresses: Vec<BindAddress>,
    /// The address for metrics and health alone; `None` if the other addresses serve them.
    pub admin_address: Option<BindAddress>,
    /// The permissions of the Unix sockets in these addresses.
    pub unix_socket_mode: UnixSocketMode,
    /// The owner of these sockets.
    pub unix_socket_owner: UnixSocketOwner,
    /// How long a stopping server waits for current requests.
    pub shutdown_timeout: Duration,
    /// Patterns of browser origins that may use the server; `*` matches any
    /// characters.
    pub cors_allowed_origins: Vec<String>,
    /// Largest read buffer of an HTTP connection.
    pub http_read_buffer_size: usize,
    /// Accepted for configuration files of 0.x, and ignored.
    pub http_write_buffer_size: usize,
    /// Read buffer of a styx/0 connection.
    pub tcp_read_buffer_size: usize,
    /// Write buffer of a styx/0 connection.
    pub tcp_write_buffer_size: usize,
    /// How long a peer may be silent, or not read, during a request or on a stream.
    pub tcp_timeout: Duration,
    /// Read buffer of a WebSocket connection.
    pub websocket_read_buffer_size: usize,
    /// Write buffer of a WebSocket connection.
    pub websocket_write_buffer_size: usize,
    /// Largest number of open connections. Idle ones are closed to make room for more;
    /// if there are none, more are answered 503.
    pub max_connections: usize,
    /// Most bytes of all requests together in memory at a time.
    pub max_in_flight_bytes: usize,
    /// Most bytes of all answers together that wait to be sent. While there are more,
    /// each answer is read and sent in small pieces.
    pub max_answer_bytes: usize,
    /// Most bytes of the newest records of all logs that stay in memory for consumers, if
    /// they were written past the page cache; 0 for the default, which depends on the
    /// memory of the machine and of its cgroup.
    pub max_cache_bytes: usize,
    /// Largest `max_record_size` with which a log can be created. Logs that exist, or
    /// that are restored or imported, keep theirs.
    pub max_log_record_size: usize,
    /// The free bytes that appends leave on the disk of their log; 0 for none.
    pub min_free_disk: usize,
    /// Threads that serve connections; 0 for half of the cores.
    pub worker_threads: usize,
    /// How long a kept-alive connection may be without a request.
    pub idle_timeout: Duration,
    /// The limits of principals and logs; `None` for none.
    pub limits_file: Option<PathBuf>,
    /// Encrypted connections.
    pub tls: Tls,
    /// The logs.
    pub log_manager: LogManager,
    /// The object store that has the history of the logs.
    pub archive: Archive,
    /// Whether each log has metrics of its own.
    pub per_log_metrics: PerLogMetrics,
    /// StatsD gauges; `None` if they are off.
    pub statsd: Option<Statsd>,
    /// Access control; `None` if no key of it is set. It is on nevertheless if there is a
    /// token file.
    pub auth: Option<Auth>,
}

/// `[log_manager]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogManager {
    /// The directory of the logs; created if it does not exist.
    pub data_directory: PathBuf,
    /// Bytes read from a log at a time, and about the largest long-polling answer.
    pub read_buffer_size: usize,
    /// Accepted for configuration files of 0.x, and ignored.
    pub write_buffer_size: usize,
    /// Start every commit on a 4 KiB boundary, for media on which an
    /// interrupted sector write may leave neither old nor new bytes.
    pub pad_commits: bool,
    /// Size in bytes from which a commit bypasses the page cache (`O_DIRECT`), if the
    /// filesystem supports that.
    pub direct_write_size: usize,
    /// Rate at which finished segments are read once a day to find damage; 0 turns it
    /// off.
    pub scrub_bytes_per_second: usize,
}

/// `[metrics.statsd]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statsd {
    /// `udp`; any other value is a warning and turns StatsD off.
    pub protocol: String,
    /// `host:port` of the StatsD server.
    pub address: String,
    /// The prefix of every gauge's name; may be empty.
    pub prefix: String,
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// The token file; `None` for `tokens.toml` in the data directory.
    pub token_file: Option<PathBuf>,
    /// Signed tokens; `None` if they are refused.
    pub jwt: Option<Jwt>,
}

impl Config {
    /// The file with the tokens, which may not exist.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        let configured = self.auth.as_ref().and_then(|auth| auth.token_file.clone());
        configured.unwrap_or_else(|| self.log_manager.data_directory.join("tokens.toml"))
    }

    /// Whether access control is on when the server starts: there is a token file, or a key of
    /// `[auth]`.
    #[must_use]
    pub fn has_access_control(&self) -> bool {
        self.auth.is_some() || self.token_file().exists()
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.certificate.is_some() && self.tls.key.is_some()
    }
}

const MIB: usize = 1 << 20;

impl Default for Config {
    fn default() -> Config {
        Config {
            pid_file: None,
            bind_addresses: vec![BindAddress::default()],
            admin_address: None,
            unix_socket_mode: UnixSocketMode::default(),
            unix_socket_owner: UnixSocketOwner::default(),
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
            max_cache_bytes: 0,
            max_log_record_size: 64 * MIB,
            min_free_disk: 0,
            worker_threads: 0,
            idle_timeout: Duration::from_secs(120),
            limits_file: None,
            tls: Tls::default(),
            log_manager: LogManager {
                data_directory: PathBuf::from("./data"),
                read_buffer_size: MIB,
                write_buffer_size: MIB,
                pad_commits: false,
                direct_write_size: 512 << 10,
                scrub_bytes_per_second: 16 * MIB,
            },
            archive: Archive::default(),
            per_log_metrics: PerLogMetrics::default(),
            statsd: None,
            auth: None,
        }
    }
}
