//! [`Error`]: why the daemon cannot start or had to stop.

use std::path::PathBuf;

/// Why the daemon cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("{0}")]
    Open(#[from] crate::OpenError),
    /// The token file cannot be used.
    #[error("{0}")]
    Tokens(#[from] crate::auth::TokenFileError),
    /// A file of `[auth.jwt]` cannot be used.
    #[error("{0}")]
    Jwt(#[from] crate::auth::JwtFileError),
    /// The limits file cannot be used.
    #[error("{0}")]
    Limits(#[from] crate::LimitsError),
    /// A file of `[tls]` cannot be used.
    #[error("{0}")]
    Certificate(#[from] crate::CertificateError),
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {source}; {}", advice(source, key))]
    Bind {
        /// The configured address.
        address: String,
        /// Its configuration key.
        key: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The sockets that systemd has passed cannot be used.
    #[error("cannot use the sockets of the service manager (LISTEN_FDS): {message}")]
    Activation {
        /// Which socket, why, and what to do.
        message: String,
    },
    /// Another process holds the pid file.
    #[error(
        "the pid file {path} is locked by another server (process {process}); stop it, or choose another pid_file"
    )]
    PidFileLocked {
        /// The file.
        path: PathBuf,
        /// The process id in the file, or "unknown".
        process: String,
    },
    /// The pid file cannot be written.
    #[error("cannot write the pid file {path}: {source}")]
    PidFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The port file cannot be written.
    #[error("cannot write the port file {path}: {source}")]
    PortFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The system refused a thread, a signal handler or similar.
    #[error("{doing}: {source}")]
    System {
        /// What was being done, as in "cannot start the runtime".
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Not every log could be closed in time; acknowledged records are safe
    /// nevertheless.
    #[error("could not close every log within {seconds} s; acknowledged records are safe")]
    ShutdownTimeout {
        /// How long it took.
        seconds: u64,
    },
}

/// What to do about an address that cannot be bound.
fn advice(source: &std::io::Error, key: &str) -> String {
    use std::io::ErrorKind as K;
    match source.kind() {
        K::AddrInUse => format!("stop the other listener, or choose another {key}"),
        K::AddrNotAvailable => format!("use an address of this machine in {key}"),
        K::PermissionDenied => {
            format!("allow it to the user that runs styx, or choose another {key}")
        }
        _ => format!("choose another {key}"),
    }
}
