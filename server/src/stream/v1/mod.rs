//! styx/1, the fast path: whole blocks both ways, in frames.
//!
//! ```text
//! producer ─▶ inbox ─▶ Checked ─▶ session::Pipeline ─▶ acks ─▶ outbox
//! consumer ◀─ sending ◀─ blocks as they are stored ◀─ session::BlockReading
//! ```
//!
//! The bytes of a body are touched once on their way in, where they are checked,
//! and not at all on their way out. docs/protocol.md has the frames.

mod consumer;
mod fault;
mod handshake;
mod outbox;
mod producer;

use std::pin::Pin;

use crate::handover::{Accepted, FrontEnd, Request};
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
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Accepted, Error>> + Send + 'a>> {
        Box::pin(async move {
            if request.is_write {
                producer::accept(request).await
            } else {
                consumer::accept(request).await
            }
        })
    }
}
