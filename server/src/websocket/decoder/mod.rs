//! [`MessageDecoder`]: from a client's bytes, in any pieces, to whole messages.
//!
//! ```text
//! received  ┌ header │ mask │ payload ┐┌ header │ …        frames, as they come
//!           └──── text, not final ────┘└ continuation, final
//! message   ┌ payload ──────────────── payload ┐           put together
//! ```
//!
//! Headers are the library's; what is made of them stands here, for the sake of
//! memory: nothing is allocated on a length's word, a length beyond the bound is
//! refused when it is read, and between two messages the decoder owns no buffer.

use bytes::{Buf, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frame;

/// A control frame's payload.
const CONTROL_BYTES_MAX: u64 = 125;
/// What is kept of a large buffer between two reads costs a copy below this.
const SMALL_BYTES: usize = 4 << 10;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecodedMessage {
    /// A whole message's bytes.
    Data(BytesMut),
    /// To be answered with the same bytes.
    Ping(BytesMut),
    Pong,
    /// The last it says.
    Close(Option<u16>),
}

/// What a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// Against the protocol, and how.
    Protocol(&'static str),
    /// A text message with other bytes.
    NotText,
    /// A message that cannot be a record.
    TooLarge { payload_bytes_max: usize },
    /// A message to a connection that reads.
    UnexpectedMessage,
}

use Violation::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    Text,
    Binary,
}

/// A message of which some frames are here.
#[derive(Debug)]
struct PartialMessage {
    kind: MessageKind,
    payload: BytesMut,
}

/// The frame whose payload is not whole yet.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    length: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct MessageDecoder {
    received: BytesMut,
    open: Option<OpenFrame>,
    part: Option<PartialMessage>,
    payload_bytes_max: Option<usize>,
}

impl MessageDecoder {
    /// For messages of at most so many bytes; `None`: for none at all.
    pub(super) fn new(payload_bytes_max: Option<usize>) -> MessageDecoder {
        MessageDecoder { received: BytesMut::new(), open: None, part: None, payload_bytes_max }
    }

    /// Where bytes of the client are to be appended.
    pub(super) fn received(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// Bytes of a message, or of the head of a frame, that wait for the rest.
    pub(super) fn held_bytes(&self) -> usize {
        self.received.len() + self.part.as_ref().map_or(0, |part| part.payload.len())
    }

    /// Lets go of what was allocated to read into; called before a wait.
    pub(super) fn shrink(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        } else if self.received.len() < SMALL_BYTES && self.received.capacity() > SMALL_BYTES {
            self.received = BytesMut::from(&*self.received);
        }
    }

    /// What was said next; `None` until more is received.
    ///
    /// # Errors
    /// What must not be. What was said before it was given out before it.
    pub(super) fn next(&mut self) -> Result<Option<DecodedMessage>, Violation> {
        loop {
            let open = match self.open {
                Some(open) => open,
                None => match self.header()? {
                    Some(open) => *self.open.insert(open),
                    None => return Ok(None),
                },
            };
            if self.received.len() < open.length {
                return Ok(None);
            }
            self.open = None;
            let mut payload = self.received.split_to(open.length);
            frame::unmask(&mut payload, open.mask);
            match open.opcode {
                OpCode::Data(data) => {
                    if let Some(message) = self.message(data, open.is_final, payload)? {
                        return Ok(Some(DecodedMessage::Data(message)));
                    }
                }
                OpCode::Control(Control::Ping) => return Ok(Some(DecodedMessage::Ping(payload))),
                OpCode::Control(Control::Pong) => return Ok(Some(DecodedMessage::Pong)),
                OpCode::Control(_) => {
                    return Ok(Some(DecodedMessage::Close(close_code(&payload)?)));
                }
            }
        }
    }

    /// The head of the next frame, if it is whole and may be.
    fn header(&mut self) -> Result<Option<OpenFrame>, Violation> {
        let mut cursor = Cursor::new(&*self.received);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, length)) = parsed.map_err(|_| Protocol("a reserved opcode"))? else {
            return Ok(None);
        };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or_default();
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Protocol("a reserved bit is set: no extension was agreed on"));
        }
        let Some(mask) = header.mask else {
            return Err(Protocol("a client's frames have to be masked"));
        };
        if header.len(length) != header_bytes {
            return Err(Protocol("a length takes more bytes than it needs"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Protocol("a control frame is in parts"));
            }
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return Err(Protocol("a control frame has more than 125 bytes"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(data) => self.check_data(data, length)?,
        }
        // A length beyond the bounds was refused.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.received.advance(header_bytes);
        Ok(Some(OpenFrame { opcode: header.opcode, is_final: header.is_final, mask, length }))
    }

    fn check_data(&self, data: Data, length: u64) -> Result<(), Violation> {
        match (data, &self.part) {
            (Data::Continue, None) => return Err(Protocol("nothing is to be continued")),
            (Data::Continue, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(Protocol("a message begins within another")),
        }
        let payload_bytes_max = self.payload_bytes_max.ok_or(Violation::UnexpectedMessage)?;
        let held = self.part.as_ref().map_or(0, |part| part.payload.len());
        if length > (payload_bytes_max - held.min(payload_bytes_max)) as u64 {
            return Err(Violation::TooLarge { payload_bytes_max });
        }
        Ok(())
    }

    /// Takes a frame's payload; gives out the message if that was its last.
    fn message(
        &mut self,
        data: Data,
        is_final: bool,
        payload: BytesMut,
    ) -> Result<Option<BytesMut>, Violation> {
        let mut part = match self.part.take() {
            None => {
                let kind = if data == Data::Text { MessageKind::Text } else { MessageKind::Binary };
                PartialMessage { kind, payload }
            }
            Some(mut part) => {
                part.payload.extend_from_slice(&payload);
                part
            }
        };
        if !is_final {
            // Not a slice of what was received, which would keep all of it.
            if part.payload.capacity() < SMALL_BYTES {
                part.payload = BytesMut::from(&*part.payload);
            }
            self.part = Some(part);
            return Ok(None);
        }
        if part.kind == MessageKind::Text && std::str::from_utf8(&part.payload).is_err() {
            return Err(Violation::NotText);
        }
        Ok(Some(part.payload))
    }
}

/// The code in a close frame's payload; `None` if it is empty.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Protocol("a close frame's code is cut off")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Protocol("a close frame has a code that must not be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::NotText),
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
