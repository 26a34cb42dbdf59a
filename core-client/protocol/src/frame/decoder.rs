//! [`Decoder`]: from the bytes of a socket to the events of one side.
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

use super::{Ack, Ends, Error, FORGET, Fault, Header, Kind};
use crate::block::{self, ParseError, check_sizes};
use crate::limits::{BLOCK_HEADER_BYTES, FRAME_BLOCKS_BYTES_MAX, FRAME_HEADER_BYTES};

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
    fn takes(self, kind: Kind) -> bool {
        let from_server = matches!(self, Route::ServerToProducer | Route::ServerToConsumer);
        match kind {
            Kind::Blocks => matches!(self, Route::ProducerToServer | Route::ServerToConsumer),
            Kind::Ack => self == Route::ServerToProducer,
            Kind::Heartbeat => true,
            Kind::Error => from_server,
            Kind::End => matches!(self, Route::ProducerToServer | Route::ServerToConsumer),
        }
    }
}

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
pub struct Decoder {
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

impl Decoder {
    /// A decoder at the first byte after the handshake. `record_bytes_max` is
    /// the largest record, its 8 bytes included, that a block may hold alone.
    #[must_use]
    pub fn new(route: Route, record_bytes_max: u64) -> Decoder {
        Decoder {
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
            let header = Header::decode(*header)?;
            self.check_turn(header.kind)?;
            let body_bytes = usize::try_from(header.size).unwrap_or(usize::MAX);
            if header.kind == Kind::Blocks {
                self.buffer.advance(FRAME_HEADER_BYTES);
                let alone = body_bytes > FRAME_BLOCKS_BYTES_MAX;
                self.state = State::Blocks { left: header.size, alone, block: None };
                continue;
            }
            self.check_form(header)?;
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
        let may_follow = kind == Kind::Heartbeat && self.route == Route::ProducerToServer;
        match self.state {
            State::Last if !may_follow => Err(Error::AfterLast(kind)),
            _ => Ok(()),
        }
    }

    /// Whether a frame has the size or flags that its kind has on this route.
    fn check_form(&self, Header { kind, flags, size }: Header) -> Result<(), Error> {
        let ends_are_told = self.route == Route::ServerToConsumer;
        match kind {
            Kind::Heartbeat if ends_are_told != (size != 0) => Err(Error::Size { kind, size }),
            Kind::End if flags != 0 && self.route != Route::ProducerToServer => {
                Err(Error::Flags { kind, flags })
            }
            _ => Ok(()),
        }
    }

    fn wait_for(&mut self, bytes: usize) -> Option<Event> {
        self.missing = bytes.saturating_sub(self.buffer.len()).max(1);
        None
    }
}

/// A frame that is not of blocks.
fn decode_body(header: Header, body: &[u8], acked: u64) -> Result<Event, Error> {
    match header.kind {
        Kind::Ack => Ack::decode(body, acked).map(Event::Ack),
        Kind::Heartbeat => Ends::decode(body).map(Event::Heartbeat),
        Kind::Error => Fault::decode(body).map(Event::Error),
        Kind::End => Ok(Event::End { forget: header.flags & FORGET != 0 }),
        Kind::Blocks => Err(Error::Unexpected(header.kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{blocks_header, encode_end, encode_heartbeat};
    use super::*;
    use crate::block::{Origin, build};
    use crate::{Code, Position, Records};

    fn block(payload: &[u8]) -> Bytes {
        build(&Records::one(payload), Origin::default())
    }

    fn check(route: Route, bytes: &[u8], expected: Result<Vec<Event>, Error>) {
        let mut decoder = Decoder::new(route, 1 << 20);
        decoder.push(bytes);
        let mut events = Vec::new();
        let result = loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break decoder.finish(),
                Err(error) => {
                    assert_eq!(decoder.next(), Err(error), "an error stays");
                    break Err(error);
                }
            }
        };
        assert_eq!(result.map(|()| events), expected, "{route:?}");
    }

    #[test]
    fn a_block_comes_out_before_its_frame_is_whole_and_is_not_copied() {
        let (one, two) = (block(b"one"), block(b"number two"));
        let mut decoder = Decoder::new(Route::ProducerToServer, 0);
        decoder.push(&blocks_header(one.len() + two.len()));
        decoder.push(&one);
        assert_eq!(decoder.next(), Ok(Some(Event::Block(one.clone()))));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.missing(), BLOCK_HEADER_BYTES);
        decoder.push(&two[..100]);
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.missing(), two.len() - 100);
        assert_eq!(decoder.finish(), Err(Error::Cut));
        decoder.push(&two[100..]);
        assert_eq!(decoder.next(), Ok(Some(Event::Block(two))));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!((decoder.missing(), decoder.finish()), (FRAME_HEADER_BYTES, Ok(())));

        let mut decoder = Decoder::new(Route::ProducerToServer, 0);
        decoder.push(&[&blocks_header(one.len())[..], &one].concat());
        let at_block = decoder.buffer()[FRAME_HEADER_BYTES..].as_ptr();
        let Ok(Some(Event::Block(found))) = decoder.next() else { panic!("no block") };
        assert_eq!(found.as_ptr(), at_block);
    }

    #[test]
    fn a_block_that_leaves_its_frame_is_refused() {
        let one = block(b"one");
        let len = one.len() as u32;
        for (size, left) in [(len - 1, len - 1), (len + 95, 95)] {
            let header = Header { kind: Kind::Blocks, flags: 0, size }.encode();
            let bytes = [&header[..], &one, &one].concat();
            let block = if left == 95 { 96 } else { len.into() };
            let error = Error::Boundary { block, left };
            let mut decoder = Decoder::new(Route::ServerToConsumer, 0);
            decoder.push(&bytes);
            if left == 95 {
                assert_eq!(decoder.next(), Ok(Some(Event::Block(one.clone()))));
            }
            assert_eq!(decoder.next(), Err(error));
        }
    }

    #[test]
    fn a_frame_over_16_mib_holds_one_block() {
        let one = block(b"one");
        let size = FRAME_BLOCKS_BYTES_MAX as u32 + 1;
        let header = Header { kind: Kind::Blocks, flags: 0, size }.encode();
        let error = Error::Boundary { block: one.len() as u64, left: size };
        check(Route::ProducerToServer, &[&header[..], &one].concat(), Err(error));
    }

    #[test]
    fn each_side_has_its_own_frames() {
        let mut ack = Ack::default();
        ack.add(Position(5), 2);
        let mut ack_frame = BytesMut::new();
        ack.clone().encode(&mut ack_frame);
        let fault = Fault::new(Code::Overloaded, "later");
        let mut error_frame = BytesMut::new();
        fault.encode(&mut error_frame);
        let ends = Ends { start: Position(1), end: Position(2) };
        let (mut beat, mut told, mut end) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        encode_heartbeat(None, &mut beat);
        encode_heartbeat(Some(ends), &mut told);
        encode_end(false, &mut end);
        let one = block(b"one");
        let blocks = [&blocks_header(one.len())[..], &one].concat();
        let frames: [(Kind, &[u8], Event); 6] = [
            (Kind::Blocks, &blocks, Event::Block(one)),
            (Kind::Ack, &ack_frame, Event::Ack(ack)),
            (Kind::Heartbeat, &beat, Event::Heartbeat(None)),
            (Kind::Heartbeat, &told, Event::Heartbeat(Some(ends))),
            (Kind::Error, &error_frame, Event::Error(fault)),
            (Kind::End, &end, Event::End { forget: false }),
        ];
        let sides = [
            (Route::ProducerToServer, [true, false, true, false, false, true]),
            (Route::ConsumerToServer, [false, false, true, false, false, false]),
            (Route::ServerToProducer, [false, true, true, false, true, false]),
            (Route::ServerToConsumer, [true, false, false, true, true, true]),
        ];
        for (route, accepted) in sides {
            for ((kind, bytes, event), accepted) in frames.iter().zip(accepted) {
                let size = (bytes.len() - FRAME_HEADER_BYTES) as u32;
                let expected = match (accepted, kind) {
                    (true, _) => Ok(vec![event.clone()]),
                    (false, Kind::Heartbeat) => Err(Error::Size { kind: *kind, size }),
                    (false, kind) => Err(Error::Unexpected(*kind)),
                };
                check(route, bytes, expected);
            }
        }
    }

    #[test]
    fn nothing_but_a_producers_heartbeat_follows_the_last_frame() {
        let mut bytes = BytesMut::new();
        encode_end(true, &mut bytes);
        encode_heartbeat(None, &mut bytes);
        let end = Event::End { forget: true };
        let both = Ok(vec![end, Event::Heartbeat(None)]);
        check(Route::ProducerToServer, &bytes, both);
        let flags = Error::Flags { kind: Kind::End, flags: 1 };
        check(Route::ServerToConsumer, &bytes, Err(flags));
        let mut bytes = BytesMut::new();
        Fault::new(Code::ShuttingDown, "").encode(&mut bytes);
        encode_heartbeat(None, &mut bytes);
        let last = Error::AfterLast(Kind::Heartbeat);
        check(Route::ServerToProducer, &bytes, Err(last));
    }

    #[test]
    fn an_ack_that_does_not_add_up_is_refused() {
        let mut bytes = BytesMut::new();
        let mut ack = Ack::default();
        for base in [0, 7] {
            ack.add(Position(base), 3);
            ack.encode(&mut bytes);
        }
        let mut good = Decoder::new(Route::ServerToProducer, 0);
        good.push(&bytes);
        let counts = std::iter::from_fn(|| match good.next() {
            Ok(Some(Event::Ack(ack))) => Some(ack.count),
            other => other.expect("is good").map(|event| panic!("{event:?}")),
        });
        assert_eq!(counts.collect::<Vec<_>>(), [3, 6]);
        let second = bytes.split_off(bytes.len() / 2);
        let error = Error::Field { kind: Kind::Ack, field: "count", value: 6 };
        check(Route::ServerToProducer, &second, Err(error));
    }
}
