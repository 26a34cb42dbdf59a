//! [`FrameDecoder`]: from the bytes of a socket to the events of one side.
//!
//! ```text
//! socket ─▶ buffer ─▶ next() ─▶ Block │ Ack │ Heartbeat │ Error │ End
//!           └ the socket reads into it; blocks are split off it, not copied
//! ```
//!
//! A frame of blocks is never waited for as a whole: each block comes out as
//! soon as it is there, so that what is held is bounded by the largest block.
//! No allocation follows from a size before it was held against its limit.

use bytes::{Buf, Bytes, BytesMut};

use super::{Ack, Ends, Error, FORGET, Fault, FrameHeader, Kind, Route};
use crate::block::{self, ParseError, check_sizes};
use crate::limits::{BLOCK_HEADER_BYTES, FRAME_BLOCKS_BYTES_MAX, FRAME_HEADER_BYTES};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One whole block, its header and sizes good, its body not looked at:
    /// [`Block::parse`](crate::block::Block::parse) does that.
    Block(Bytes),
    /// What has become durable; its count is the sum of all runs so far.
    Ack(Ack),
    /// A sign of life; to a consumer, and only there, with the log's ends.
    Heartbeat(Option<Ends>),
    /// What went wrong. Nothing comes after it.
    Error(Fault),
    /// No more. From a server nothing comes after it, from a producer
    /// heartbeats alone.
    End {
        /// Whether the producer asks to be forgotten.
        forget: bool,
    },
}

/// Turns bytes, however they are cut, into events.
///
/// Read into [`buffer`](Self::buffer), then call [`next`](Self::next) until it
/// has none. After an error nothing more can be decoded.
#[derive(Debug)]
pub struct FrameDecoder {
    route: Route,
    record_bytes_max: u64,
    buffer: BytesMut,
    state: State,
    /// Records acked so far.
    acked: u64,
    missing: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A frame's header comes next.
    Frame,
    /// Inside a frame of blocks: bytes left of it, and of the block that comes
    /// next, once its header was seen.
    Blocks { left: u32, alone: bool, block: Option<usize> },
    /// The peer's last frame has come; a producer's heartbeats may follow.
    Last,
}

impl FrameDecoder {
    /// A decoder at the first byte after the handshake. `record_bytes_max` is
    /// the largest record, its 8 bytes included, that a block may hold alone.
    #[must_use]
    pub fn new(route: Route, record_bytes_max: u64) -> FrameDecoder {
        FrameDecoder {
            route,
            record_bytes_max,
            buffer: BytesMut::new(),
            state: State::Frame,
            acked: 0,
            missing: FRAME_HEADER_BYTES,
        }
    }

    /// The buffer that the socket reads into; bytes are only ever appended.
    /// Whoever is idle with an empty one may replace it by a new one to free
    /// its memory.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes by copying them, such as those read with the handshake.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes without which [`next`](Self::next) has no further event: how much
    /// to make room for, as far as one likes. Never 0, and never more than the
    /// largest block has.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Whether bytes of a frame are there without the rest of it.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty() || matches!(self.state, State::Blocks { .. })
    }

    /// To be asked once the peer has closed its side and there is no next event.
    ///
    /// # Errors
    /// [`Error::Cut`] when that was in the middle of a frame.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_mid_frame() { Err(Error::Cut) } else { Ok(()) }
    }

    /// The next event, or `None` until [`missing`](Self::missing) more bytes are
    /// there.
    ///
    /// # Errors
    /// See [`Error`]; the same again at every further call.
    #[expect(clippy::should_implement_trait, reason = "it is fallible, and None is not the end")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let State::Blocks { left, alone, block } = self.state {
                return self.next_block(left, alone, block);
            }
            let Some(header) = self.buffer.first_chunk() else {
                return Ok(self.wait_for(FRAME_HEADER_BYTES));
            };
            let header = FrameHeader::decode(*header)?;
            self.check_turn(header.kind)?;
            let body_bytes = usize::try_from(header.size).unwrap_or(usize::MAX);
            if header.kind == Kind::Blocks {
                self.buffer.advance(FRAME_HEADER_BYTES);
                let alone = body_bytes > FRAME_BLOCKS_BYTES_MAX;
                self.state = State::Blocks { left: header.size, alone, block: None };
                continue;
            }
            self.route.check_form(header)?;
            let frame_bytes = FRAME_HEADER_BYTES + body_bytes;
            if self.buffer.len() < frame_bytes {
                return Ok(self.wait_for(frame_bytes));
            }
            let body = self.buffer.get(FRAME_HEADER_BYTES..frame_bytes).unwrap_or_default();
            let event = decode_body(header, body, self.acked)?;
            self.buffer.advance(frame_bytes);
            match &event {
                Event::Ack(ack) => self.acked = ack.count,
                Event::Error(_) | Event::End { .. } => self.state = State::Last,
                Event::Block(_) | Event::Heartbeat(_) => {}
            }
            return Ok(Some(event));
        }
    }

    fn next_block(
        &mut self,
        left: u32,
        alone: bool,
        block: Option<usize>,
    ) -> Result<Option<Event>, Error> {
        let block_bytes = match block {
            Some(known) => known,
            None if (left as usize) < BLOCK_HEADER_BYTES => {
                return Err(Error::Boundary { block: BLOCK_HEADER_BYTES as u64, left });
            }
            None if self.buffer.len() < BLOCK_HEADER_BYTES => {
                return Ok(self.wait_for(BLOCK_HEADER_BYTES));
            }
            None => self.check_block(left, alone)?,
        };
        self.state = State::Blocks { left, alone, block: Some(block_bytes) };
        if self.buffer.len() < block_bytes {
            return Ok(self.wait_for(block_bytes));
        }
        let left = left.saturating_sub(u32::try_from(block_bytes).unwrap_or(u32::MAX));
        self.state = match left {
            0 => State::Frame,
            left => State::Blocks { left, alone, block: None },
        };
        Ok(Some(Event::Block(self.buffer.split_to(block_bytes).freeze())))
    }

    /// Bytes of the block at the front of the buffer, once its header is good
    /// and it fits its frame.
    fn check_block(&self, left: u32, alone: bool) -> Result<usize, Error> {
        let (header, _) = block::Header::decode(&self.buffer).map_err(ParseError::from)?;
        check_sizes(&header, self.record_bytes_max)?;
        let block = header.block_bytes();
        if block > u64::from(left) || (alone && block < u64::from(left)) {
            return Err(Error::Boundary { block, left });
        }
        usize::try_from(block).map_err(|_| Error::Boundary { block, left })
    }

    /// Whether this peer may send such a frame now.
    fn check_turn(&self, kind: Kind) -> Result<(), Error> {
        if !self.route.takes(kind) {
            return Err(Error::Unexpected(kind));
        }
        match self.state {
            State::Last if !self.route.takes_after_last(kind) => Err(Error::AfterLast(kind)),
            _ => Ok(()),
        }
    }

    fn wait_for(&mut self, bytes: usize) -> Option<Event> {
        self.missing = bytes.saturating_sub(self.buffer.len()).max(1);
        None
    }
}

/// A frame that is not of blocks.
fn decode_body(header: FrameHeader, body: &[u8], acked: u64) -> Result<Event, Error> {
    match header.kind {
        Kind::Ack => Ack::decode(body, acked).map(Event::Ack),
        Kind::Heartbeat => Ends::decode(body).map(Event::Heartbeat),
        Kind::Error => Fault::decode(body).map(Event::Error),
        Kind::End => Ok(Event::End { forget: header.flags & FORGET != 0 }),
        Kind::Blocks => Err(Error::Unexpected(header.kind)),
    }
}

#[cfg(test)]
mod tests;
