//! [`MessageDecoder`]: turns a client's bytes, in pieces of any size, into whole
//! messages.
//!
//! ```text
//! received  ┌ header │ mask │ payload ┐┌ header │ …        frames, as they arrive
//!           └──── text, not final ────┘└ continuation, final
//! message   ┌ payload ──────────────── payload ┐           joined
//! ```
//!
//! The library parses headers; this decoder does the rest, to bound memory. It
//! allocates nothing because a header announces a length, refuses a length beyond
//! the limit as soon as it is read, and owns no buffer between two messages.

use bytes::{Buf, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frame;

/// The largest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;
/// Fewer bytes than this are copied out of a large buffer between two reads, so
/// that the buffer can be freed.
const SMALL_BYTES: usize = 4 << 10;

/// A message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DecodedMessage {
    /// A whole message's bytes.
    Data(BytesMut),
    /// To be answered with a pong of the same bytes.
    Ping(BytesMut),
    Pong,
    /// The last frame of the client, with its code.
    Close(Option<u16>),
}

/// A rule that a client broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A rule of the WebSocket protocol, and which one.
    Protocol(&'static str),
    /// A text message that is not UTF-8.
    NotText,
    /// A message that is too large for a record.
    TooLarge { payload_bytes_max: usize },
    /// A message on a connection that only reads.
    UnexpectedMessage,
}

use Violation::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageKind {
    Text,
    Binary,
}

/// A message of which some frames have arrived.
#[derive(Debug)]
struct PartialMessage {
    kind: MessageKind,
    payload: BytesMut,
    /// Bytes before `payload` that [`MessageDecoder::take_part`] has returned.
    taken_bytes: usize,
}

/// The frame whose payload has not arrived whole yet.
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
    /// Accepts messages of at most `payload_bytes_max`, or none if it is `None`.
    pub(super) fn new(payload_bytes_max: Option<usize>) -> MessageDecoder {
        MessageDecoder { received: BytesMut::new(), open: None, part: None, payload_bytes_max }
    }

    /// The buffer to append the client's bytes to.
    pub(super) fn received(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// Bytes of a message or frame header of which the rest is missing.
    pub(super) fn held_bytes(&self) -> usize {
        self.received.len() + self.part.as_ref().map_or(0, |part| part.payload.len())
    }

    /// Frees memory that is allocated to read into; called before a wait.
    pub(super) fn shrink(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        } else if self.received.len() < SMALL_BYTES && self.received.capacity() > SMALL_BYTES {
            self.received = BytesMut::from(&*self.received);
        }
    }

    /// The next message or control frame; `None` until more is received.
    ///
    /// # Errors
    /// The rule that the client broke. Everything before it was returned before.
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

    /// Takes the arrived part of a message whose rest is missing, if it has at least
    /// `bytes_min` bytes; [`next`](Self::next) then returns the rest. So a large message needs no
    /// large buffer. Call it after `next` has returned `None`.
    ///
    /// # Errors
    /// The message is not the text that it claims to be.
    pub(super) fn take_part(&mut self, bytes_min: usize) -> Result<Option<BytesMut>, Violation> {
        // The mask has four bytes, so the rest of the frame still begins with the first.
        let whole_masks = self.received.len() / 4 * 4;
        if let Some(OpenFrame { opcode: OpCode::Data(data), mask, length, .. }) = self.open
            && whole_masks >= bytes_min.max(1)
            && let Some(left) = length.checked_sub(whole_masks).filter(|left| *left > 0)
        {
            let mut payload = self.received.split_to(whole_masks);
            frame::unmask(&mut payload, mask);
            self.message(data, false, payload)?;
            if let Some(open) = &mut self.open {
                (open.opcode, open.length) = (OpCode::Data(Data::Continue), left);
            }
        }
        let Some(part) = &mut self.part else { return Ok(None) };
        if part.payload.len() < bytes_min.max(1) {
            return Ok(None);
        }
        let taken = match part.kind {
            MessageKind::Binary => std::mem::take(&mut part.payload),
            // The rest begins with a whole character.
            MessageKind::Text => match std::str::from_utf8(&part.payload) {
                Ok(_) => std::mem::take(&mut part.payload),
                Err(error) if error.error_len().is_none() => {
                    part.payload.split_to(error.valid_up_to())
                }
                Err(_) => return Err(Violation::NotText),
            },
        };
        part.taken_bytes += taken.len();
        Ok((!taken.is_empty()).then_some(taken))
    }

    /// The next frame header, if it has arrived whole.
    ///
    /// # Errors
    /// The frame is not allowed here.
    fn header(&mut self) -> Result<Option<OpenFrame>, Violation> {
        let mut cursor = Cursor::new(&*self.received);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, length)) =
            parsed.map_err(|_| Protocol("the frame has a reserved opcode"))?
        else {
            return Ok(None);
        };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or_default();
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Protocol("a reserved bit is set, but no extension was negotiated"));
        }
        let Some(mask) = header.mask else {
            return Err(Protocol("the frame is not masked; a client must mask its frames"));
        };
        if header.len(length) != header_bytes {
            return Err(Protocol("the frame's length is not encoded as short as possible"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Protocol("a control frame is fragmented"));
            }
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return Err(Protocol("a control frame has more than 125 bytes"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(data) => self.check_data(data, length)?,
        }
        // A length beyond the limits was refused above.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.received.advance(header_bytes);
        Ok(Some(OpenFrame { opcode: header.opcode, is_final: header.is_final, mask, length }))
    }

    fn check_data(&self, data: Data, length: u64) -> Result<(), Violation> {
        match (data, &self.part) {
            (Data::Continue, None) => {
                return Err(Protocol("a continuation frame has no message to continue"));
            }
            (Data::Continue, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(Protocol("a message begins before the last one ended")),
        }
        let payload_bytes_max = self.payload_bytes_max.ok_or(Violation::UnexpectedMessage)?;
        let held = self.part.as_ref().map_or(0, |part| part.taken_bytes + part.payload.len());
        if length > (payload_bytes_max - held.min(payload_bytes_max)) as u64 {
            return Err(Violation::TooLarge { payload_bytes_max });
        }
        Ok(())
    }

    /// Adds a frame's payload to its message; returns the message after its last
    /// frame.
    fn message(
        &mut self,
        data: Data,
        is_final: bool,
        payload: BytesMut,
    ) -> Result<Option<BytesMut>, Violation> {
        let mut part = match self.part.take() {
            None => {
                let kind = if data == Data::Text { MessageKind::Text } else { MessageKind::Binary };
                PartialMessage { kind, payload, taken_bytes: 0 }
            }
            Some(mut part) => {
                part.payload.extend_from_slice(&payload);
                part
            }
        };
        if !is_final {
            // A slice of the received bytes would keep all of them in memory.
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
            _ => Err(Protocol("a close frame has half a code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Protocol("a close frame has a reserved code"));
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
