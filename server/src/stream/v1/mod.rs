//! styx/1, the fast protocol: whole blocks both ways, in frames.
//!
//! ```text
//! producer ─▶ ReceiveBuffer ─▶ checked block ─▶ session::Pipeline ─▶ acks ─▶ SendQueue
//! consumer ◀─ SendQueue or sendfile ◀─ blocks as they are stored ◀─ session::BlockReader
//! ```
//!
//! The bytes of a body are touched once when they arrive, to check them, and not at
//! all when they are sent. docs/protocol.md describes the frames.

mod consumer;
mod error_frame;
mod handshake;
mod producer;
mod send_queue;

use std::pin::Pin;

use crate::handover::{AcceptedUpgrade, FrontEnd, UpgradeRequest};
use crate::session::Error;

/// The front end of styx/1.
#[derive(Debug)]
pub(super) struct Styx1;

impl FrontEnd for Styx1 {
    fn name(&self) -> &'static str {
        "styx/1"
    }

    fn speaks(&self, protocol: &str) -> bool {
        protocol.eq_ignore_ascii_case("styx/1")
    }

    fn accept<'a>(
        &'a self,
        request: UpgradeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AcceptedUpgrade, Error>> + Send + 'a>> {
        Box::pin(async move {
            if request.is_write {
                producer::accept(request).await
            } else {
                consumer::accept(request).await
            }
        })
    }
}
