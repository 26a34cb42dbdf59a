//! WebSockets: each message is a record.
//!
//! ```text
//! socket ─▶ decoder ─▶ producer ─▶ session::Pipeline ─▶ acks ─▶ socket
//! socket ◀─ frames ◀── consumer ◀── session::RecordReader
//! ```
//!
//! Each connection is one task. Only its
//! [`WebSocketConnection`](connection::WebSocketConnection) uses the socket: frames
//! out, pings, pongs, the close. Invariants: an idle connection owns no buffer; a
//! consumer that does not read costs one batch; every message that arrived whole is
//! appended, however the connection ends.

mod close_cause;
mod connection;
mod consumer;
mod decoder;
mod frame;
mod handshake;
mod producer;

use std::future::Future;
use std::pin::Pin;

use http::HeaderMap;

use crate::handover::{AcceptedUpgrade, FrontEnd, UpgradeRequest};
use crate::session::Error;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use decoder::fuzzing::decoder as fuzz_decoder;

/// See the module.
#[derive(Debug)]
pub(crate) struct WebSocket;

impl FrontEnd for WebSocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn speaks(&self, protocol: &str) -> bool {
        protocol.eq_ignore_ascii_case("websocket")
    }

    fn writes(&self, is_write: bool, query: &str) -> Result<bool, Error> {
        handshake::writes(is_write, query)
    }

    fn is_for_browsers(&self) -> bool {
        true
    }

    fn supports_version(&self, headers: &HeaderMap) -> bool {
        handshake::is_supported_version(headers)
    }

    fn versions(&self) -> HeaderMap {
        handshake::versions()
    }

    fn accept<'a>(
        &'a self,
        request: UpgradeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AcceptedUpgrade, Error>> + Send + 'a>> {
        Box::pin(handshake::accept(request))
    }
}
