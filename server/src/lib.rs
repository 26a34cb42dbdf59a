//! The Styx daemon as a library.
//!
//! ```text
//! listener → http → session → styx_engine
//! ```
//!
//! [`run`] is the whole daemon. [`Server`] is the same for a caller that has a
//! runtime and stops the server itself.

mod app;
mod audit;
pub mod auth;
mod certificates;
pub mod config;
mod descriptors;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod header;
mod http;
mod limits;
mod listener;
mod memory;
mod metrics;
mod params;
mod parent;
mod peer;
mod pid_file;
mod port_file;
mod run;
mod server;
mod session;
mod shutdown;
mod statsd;
mod stream;
mod systemd;
mod transport;
mod watched_file;
mod websocket;

pub use certificates::{Error as CertificateError, SelfSigned, generate_self_signed};
pub use config::Config;
pub use error::Error;
pub use limits::LimitsError;
pub use run::{RunOptions, run};
pub use server::Server;
pub use session::OpenError;
pub use systemd::PassedSockets;
