//! Clients that are not the client core: small, and as cheap as can be, because
//! they share the machine with the server that they measure.
//!
//! ```text
//! connection   a socket to the server, and how a request becomes a stream on it
//! inbox        what came in, cut into messages where they lie
//! message      one message of styx/0, of a WebSocket, of a body of binary-records
//! stream       producing and consuming over styx/0 and WebSocket
//! http         batches over HTTP
//! crowd        many connections on one thread, one request in flight on each
//! flock        many streams of styx/1 on one thread
//! answer       an answer of HTTP/1.1
//! visitor      what becomes of records that are read
//! ```

pub(super) mod answer;
pub(super) mod connection;
pub(super) mod crowd;
pub(super) mod flock;
pub(super) mod http;
mod inbox;
mod message;
pub(super) mod stream;
pub(super) mod visitor;

use crate::failure::Failure;

/// What went wrong on the way to the server.
fn broken(what: &str, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{what}: {error}"))
}
