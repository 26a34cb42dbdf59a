//! What a service manager such as systemd gives to the server, and is told by it.
//!
//! ```text
//! LISTEN_FDS ─▶ passed_sockets ─▶ listener
//! service ─▶ NOTIFY_SOCKET: logs are being opened, ready, alive (watchdog), stopping
//! ```

mod passed_sockets;
mod service;

pub(crate) use passed_sockets::PassedSocket;
pub use passed_sockets::PassedSockets;
pub(crate) use service::Service;
