//! [`FrameDecoder`]: converts the bytes from a socket to the events of one side.
//!
//! ```text
//! socket ─▶ buffer ─▶ next() ─▶ Block │ Ack │ Heartbeat │ Error │ End
//!           └ the socket reads into it; blocks are split off it, not copied
//! ```
//!
//! The decoder does not wait for a whole frame of blocks. It returns each block as soon
//! as it is complete, so its memory is bounded by the largest block. It checks every size
//! against its limit before it allocates for it.

use bytes::{Buf, Bytes, BytesMut};

use super::{Ack, Ends, Error, FORGET, Fault, FrameHeader, Kind, Route};
use crate::block::{self, ParseError, check_sizes};
use crate::limits::{BLOCK_HEADER_BYTES, FRAME_BLOCKS_BYTES_MAX, FRAME_HEADER_BYTES};

/// A decoded frame, or one block of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One complete block. Its header and sizes are valid; its body was not checked.
    /// [`Block::parse`](crate::block::Block::parse) checks it.
    Block(Bytes),
    /// An ack. Its count is the sum of all runs so far.
    Ack(Ack),
    /// A heartbeat. Only a heartbeat to a consumer has the log's ends.
    Heartbeat(Option<Ends>),
    /// An error. Nothing follows it.
    Error(Fault),
    /// The end of the stream. Nothing follows it from a server, and only heartbeats from a
    /// producer.
    End {
        /// Whether the log may forget the producer.
        forget: bool,
    },
}

/// Converts bytes, however they are split, to events.
///
/// Read into [`buffer`](Self::buffer), then call [`next`](Self::next) until it returns
/// `None`. After an error nothing more can be decoded.
#[derive(Debug)]
pub struct FrameDecoder {
    route: Route,
    record_bytes_max: u64,
    buffer: BytesMut,
    state: State,
    /// The number of records acknowledged so far.
    acked: u64,
    missing: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The next bytes are a frame's header.
    Frame,
    /// Inside a frame of blocks: the bytes left of it, and the bytes of the next block once
    /// its header was decoded.
    Blocks { left: u32, alone: bool, block: Option<usize> },
    /// The peer's last frame was received; only a producer's heartbeats may follow.
    Last,
}

impl FrameDecoder {
    /// A decoder at the first byte after the handshake. `record_bytes_max` is the largest
    /// record, including its header of 8 bytes, that a block of one record may have.
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

    /// The buffer to read into. Only append bytes. An idle caller may replace an empty
    /// buffer by a new one to free its memory.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends a copy of these bytes, such as those received with the handshake.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The number of bytes that [`next`](Self::next) needs for its next event. Reserve up to
    /// this much memory. It is never 0, and at most the size of the largest block.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Whether a part of a frame was received, but not all of it.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty() || matches!(self.state, State::Blocks { .. })
    }

    /// Checks the end of the stream: call it once the peer has closed its side and there is
    /// no further event.
    ///
    /// # Errors
    /// [`Error::Cut`] if the stream ended inside a frame.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_mid_frame() { Err(Error::Cut) } else { Ok(()) }
    }

    /// The next event; `None` until [`missing`](Self::missing) more bytes were received.
    ///
    /// # Errors
    /// See [`Error`]. Every further call returns the same error.
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

    /// The size of the block at the front of the buffer. Checks its header, and that it
    /// fits its frame.
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

/// Decodes a frame without blocks.
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
