//! [`Route`]: which side may send which frames, and in which form.
//!
//! It implements the table in docs/protocol.md. The decoder checks it before it decodes a
//! frame's body.

use super::{Error, FrameHeader, Kind};

/// The sender and the receiver of a stream.
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
    /// Whether the sender may send frames of this kind.
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

    /// Whether the sender may send this frame after its last one: a producer sends
    /// heartbeats while it waits for acks.
    pub(super) fn takes_after_last(self, kind: Kind) -> bool {
        kind == Kind::Heartbeat && self == Route::ProducerToServer
    }

    /// Checks that a frame has the size and flags that its kind must have on this route.
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
