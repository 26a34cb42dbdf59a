//! [`Route`]: which frames go which way, and in which form.
//!
//! The table in docs/protocol.md, as code: the decoder asks it before it looks at
//! a frame's body.

use super::{Error, FrameHeader, Kind};

/// Who sends to whom on the bytes that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Blocks, heartbeats, an end.
    ProducerToServer,
    /// Heartbeats.
    ConsumerToServer,
    /// Acks, heartbeats, an error.
    ServerToProducer,
    /// Blocks, heartbeats with the log's ends, an error, an end.
    ServerToConsumer,
}

impl Route {
    /// Whether the sender sends such frames at all.
    pub(super) fn takes(self, kind: Kind) -> bool {
        let from_server = matches!(self, Route::ServerToProducer | Route::ServerToConsumer);
        match kind {
            Kind::Blocks => matches!(self, Route::ProducerToServer | Route::ServerToConsumer),
            Kind::Ack => self == Route::ServerToProducer,
            Kind::Heartbeat => true,
            Kind::Error => from_server,
            Kind::End => matches!(self, Route::ProducerToServer | Route::ServerToConsumer),
        }
    }

    /// Whether the sender sends other frames after its last one: a producer tells
    /// that it is alive while it waits for acks.
    pub(super) fn takes_after_last(self, kind: Kind) -> bool {
        kind == Kind::Heartbeat && self == Route::ProducerToServer
    }

    /// Whether a frame has the size or flags that its kind has on this route.
    pub(super) fn check_form(
        self,
        FrameHeader { kind, flags, size }: FrameHeader,
    ) -> Result<(), Error> {
        let ends_are_told = self == Route::ServerToConsumer;
        match kind {
            Kind::Heartbeat if ends_are_told != (size != 0) => Err(Error::Size { kind, size }),
            Kind::End if flags != 0 && self != Route::ProducerToServer => {
                Err(Error::Flags { kind, flags })
            }
            _ => Ok(()),
        }
    }
}
