//! Fuzz targets for streams: frames, messages, compressed blocks and handshakes.
//!
//! Invariant: the result does not depend on how the bytes are cut into chunks, and encoding the
//! decoded values gives the same bytes or values.

use bytes::BytesMut;
use styx_protocol::block::{Block, Codec, Header, Origin, build_with};
use styx_protocol::frame::{self, Event, Route};
use styx_protocol::handshake::ProducerParams;
use styx_protocol::limits::{
    ACK_RUNS_MAX, BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX, FRAME_HEADER_BYTES,
};
use styx_protocol::styx0::{self, Message};
use styx_protocol::{Checkpoint, Codecs};

use super::fixup;

/// Larger records are refused. Inputs can exceed this limit, so the refusal is tested too.
const RECORD_BYTES_MAX: u64 = 2 * BLOCK_RAW_BYTES_MAX as u64;
const PAYLOAD_BYTES_MAX: usize = 300;

/// A styx/1 stream. The decoder returns the same events and the same error for any chunks, and
/// never asks for more bytes than the largest event has.
pub(super) fn frame(input: &[u8]) {
    let [mode, cut, bytes @ ..] = input else { return };
    let route = match mode & 3 {
        0 => Route::ProducerToServer,
        1 => Route::ConsumerToServer,
        2 => Route::ServerToProducer,
        _ => Route::ServerToConsumer,
    };
    let mut bytes = bytes.to_vec();
    if mode & 4 != 0 {
        fix_frames(&mut bytes, fixup::Fixups::of(mode >> 3 | 1));
    }
    let whole = decode_frames(route, &bytes, bytes.len());
    assert_eq!(decode_frames(route, &bytes, (*cut).into()), whole, "chunks of {cut}");
    let mut again = BytesMut::new();
    for event in &whole.0 {
        match event {
            Event::Block(block) => {
                Header::decode(block).expect("an event has a valid block header");
                let _ = Block::parse(block.clone(), RECORD_BYTES_MAX)
                    .and_then(|(block, rest)| {
                        assert!(rest.is_empty(), "an event contains one block");
                        block.into_checked(PAYLOAD_BYTES_MAX)
                    })
                    .map(|checked| assert!(checked.longest() <= PAYLOAD_BYTES_MAX));
                again.extend_from_slice(&frame::blocks_header(block.len()));
                again.extend_from_slice(block);
            }
            Event::Ack(ack) => ack.clone().encode(&mut again),
            Event::Heartbeat(ends) => frame::encode_heartbeat(*ends, &mut again),
            Event::Error(fault) => {
                let _ = (fault.ends(), fault.damage(), fault.end_position());
                fault.encode(&mut again);
            }
            Event::End { forget } => frame::encode_end(*forget, &mut again),
        }
    }
    let (events, end) = decode_frames(route, &again, again.len());
    assert_eq!((events, end), (whole.0, Ok(())), "encoded events decode to the same events");
}

fn decode_frames(
    route: Route,
    bytes: &[u8],
    chunk_bytes: usize,
) -> (Vec<Event>, Result<(), frame::Error>) {
    let largest = BLOCK_HEADER_BYTES + RECORD_BYTES_MAX as usize;
    let bound = largest.max(FRAME_HEADER_BYTES + 8 + 12 * ACK_RUNS_MAX);
    let mut decoder = frame::FrameDecoder::new(route, RECORD_BYTES_MAX);
    let mut events = Vec::new();
    for chunk in bytes.chunks(chunk_bytes.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
        assert!((1..=bound).contains(&decoder.missing()), "{} missing", decoder.missing());
    }
    let end = decoder.finish();
    (events, end)
}

/// Cuts the sizes of frames to the available bytes, and fixes the blocks in them.
fn fix_frames(bytes: &mut [u8], mode: fixup::Fixups) {
    let mut rest = bytes;
    while rest.len() >= FRAME_HEADER_BYTES {
        let (head, behind) = rest.split_at_mut(FRAME_HEADER_BYTES);
        let claimed = u32::from_be_bytes(std::array::from_fn(|i| head[4 + i])) as usize;
        let size = claimed.min(behind.len());
        head[4..8].copy_from_slice(&(size as u32).to_be_bytes());
        let (body, after) = behind.split_at_mut(size);
        if head[0] == 1 {
            let _ = fixup::blocks(body, mode, fixup::ChainPosition::default());
        }
        rest = after;
    }
}

/// A styx/0 stream, with the same checks.
pub(super) fn styx0(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let decode = |chunk_bytes: usize| {
        let mut decoder = styx0::MessageDecoder::new(PAYLOAD_BYTES_MAX);
        let (mut again, mut shown) = (BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(chunk_bytes.max(1)) {
            decoder.push(chunk);
            loop {
                match decoder.next() {
                    Ok(Some(message)) => {
                        shown.push(format!("{message:?}"));
                        encode_styx0(message, &mut again);
                    }
                    Ok(None) => break,
                    Err(error) => return (shown, again, Err(error)),
                }
            }
            assert!((1..=PAYLOAD_BYTES_MAX + 6).contains(&decoder.missing()));
        }
        let end = decoder.finish();
        (shown, again, end)
    };
    let whole = decode(bytes.len());
    assert_eq!(decode((*cut).into()), whole, "chunks of {cut}");
    let (shown, again, end) = whole;
    let has_error = shown.iter().any(|message| message.starts_with("Error"));
    assert!(has_error || bytes.starts_with(&again));
    assert!(end.is_err() || again.len() == bytes.len(), "every byte is decoded");
}

fn encode_styx0(message: Message<'_>, out: &mut BytesMut) {
    match message {
        Message::Record(payload) => {
            assert!(payload.len() <= PAYLOAD_BYTES_MAX);
            styx0::encode_record(payload, out);
        }
        Message::Ack { position, count } => styx0::encode_ack(position, count, out),
        Message::Heartbeat => styx0::encode_heartbeat(out),
        Message::Error(_) => styx0::encode_error(out),
    }
}

/// A compressed body with a matching header, and the size to which it should decompress.
pub(super) fn packed_block(input: &[u8]) {
    let [mode, high, low, body @ ..] = input else { return };
    let codec = if mode & 1 == 0 { Codec::Lz4 } else { Codec::Zstd };
    let header = |count| Header {
        codec,
        count,
        body_size: body.len() as u32,
        raw_size: u16::from_be_bytes([*high, *low]).into(),
        body_crc: crc32fast::hash(body),
        ..Header::default()
    };
    let parse = |header: Header| {
        let bytes = [&header.encode().0[..], body].concat();
        let (block, rest) = Block::parse(bytes.into(), 0).expect("the header matches the body");
        assert!(rest.is_empty());
        block
    };
    let claimed = parse(header(1));
    let raw = match claimed.unpacked() {
        Ok(Some(unpacked)) => unpacked,
        Ok(None) => panic!("a compressed body was taken for an uncompressed one"),
        Err(error) => {
            assert_eq!(claimed.records().map_err(Some), Err(Some(error)));
            return;
        }
    };
    assert_eq!(
        raw.body().len(),
        claimed.header().raw_size as usize,
        "the body has the size in its header"
    );
    let mut fixed = raw.body().to_vec();
    let count = fixup::records(&mut fixed);
    let block = parse(header(count));
    let (checked, unchecked) = (block.checked_records(), block.records());
    if let Ok(records) = &checked {
        assert_eq!(unchecked.as_ref(), Ok(records), "both ways to get the records agree");
        assert_eq!(records.bytes(), raw.body());
        if count > 0 {
            let typed = block.into_checked(usize::MAX).expect("every record is valid");
            assert_eq!((typed.count(), typed.longest()), (count, records.longest()));
        }
        let again = build_with(codec, Some((mode >> 1).into()), records, Origin::default());
        assert!(again.len() <= BLOCK_HEADER_BYTES + records.bytes().len());
        let (again, _) = Block::parse(again, 0).expect("a built block can be parsed");
        assert_eq!(again.checked_records().as_ref(), Ok(records));
    }
}

/// The parameters and features of a handshake, and a consumer's checkpoint.
pub(super) fn handshake(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text, "a checkpoint has one form");
    }
    let codecs = Codecs::from_features(&text);
    assert_eq!(Codecs::from_features(&codecs.to_string()), codecs);
    let pairs = text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    if let Ok(Some(producer)) = ProducerParams::parse(pairs) {
        let query = producer.to_query();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        assert_eq!(ProducerParams::parse(pairs), Ok(Some(producer)));
    }
}
