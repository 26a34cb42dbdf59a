//! Clients for measuring, in addition to the client core. They use as little CPU time as
//! possible, because they run on the same machine as the server that they measure.
//!
//! ```text
//! connection         a socket to the server, and the upgrade of a request to a stream
//! receive_buffer     received bytes, split into messages without a copy
//! message            one message of styx/0, of WebSocket, of binary-records
//! stream             producing and consuming over styx/0 and WebSocket
//! http               batches over HTTP
//! http_connections   many HTTP connections on one thread, one request in flight on each
//! styx1_connections  many styx/1 streams on one thread
//! response           one HTTP/1.1 response
//! record_sink        counts or checks records that were read
//! ```

pub(super) mod connection;
mod encryption;
pub(super) mod http;
pub(super) mod http_connections;
mod message;
mod receive_buffer;
pub(super) mod record_sink;
pub(super) mod response;
pub(super) mod stream;
pub(super) mod styx1_connections;

use crate::Error;

/// An I/O error, with what was attempted.
fn io_error(what: &str, error: &std::io::Error) -> Error {
    Error::Failed(format!("{what}: {error}"))
}
