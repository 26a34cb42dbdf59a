//! Which events the decoder returns, and which bytes it rejects.

use super::super::{blocks_header, encode_end, encode_heartbeat};
use super::*;
use crate::block::{Origin, build};
use crate::{Code, Position, Records};

fn block(payload: &[u8]) -> Bytes {
    build(&Records::one(payload), Origin::default())
}

fn check(route: Route, bytes: &[u8], expected: Result<Vec<Event>, Error>) {
    let mut decoder = FrameDecoder::new(route, 1 << 20);
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
fn block_is_returned_before_its_frame_is_complete_and_without_a_copy() {
    let (one, two) = (block(b"one"), block(b"number two"));
    let mut decoder = FrameDecoder::new(Route::ProducerToServer, 0);
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

    let mut decoder = FrameDecoder::new(Route::ProducerToServer, 0);
    decoder.push(&[&blocks_header(one.len())[..], &one].concat());
    let at_block = decoder.buffer()[FRAME_HEADER_BYTES..].as_ptr();
    let Ok(Some(Event::Block(found))) = decoder.next() else { panic!("no block") };
    assert_eq!(found.as_ptr(), at_block);
}

#[test]
fn block_that_exceeds_its_frame_is_an_error() {
    let one = block(b"one");
    let len = one.len() as u32;
    for (size, left) in [(len - 1, len - 1), (len + 95, 95)] {
        let header = FrameHeader { kind: Kind::Blocks, flags: 0, size }.encode();
        let bytes = [&header[..], &one, &one].concat();
        let block = if left == 95 { 96 } else { len.into() };
        let error = Error::Boundary { block, left };
        let mut decoder = FrameDecoder::new(Route::ServerToConsumer, 0);
        decoder.push(&bytes);
        if left == 95 {
            assert_eq!(decoder.next(), Ok(Some(Event::Block(one.clone()))));
        }
        assert_eq!(decoder.next(), Err(error));
    }
}

#[test]
fn frame_over_16_mib_must_have_one_block() {
    let one = block(b"one");
    let size = FRAME_BLOCKS_BYTES_MAX as u32 + 1;
    let header = FrameHeader { kind: Kind::Blocks, flags: 0, size }.encode();
    let error = Error::Boundary { block: one.len() as u64, left: size };
    check(Route::ProducerToServer, &[&header[..], &one].concat(), Err(error));
}

#[test]
fn each_side_only_sends_its_own_frames() {
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
fn only_a_producers_heartbeat_may_follow_the_last_frame() {
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
fn ack_with_contradictory_counts_is_an_error() {
    let mut bytes = BytesMut::new();
    let mut ack = Ack::default();
    for base in [0, 7] {
        ack.add(Position(base), 3);
        ack.encode(&mut bytes);
    }
    let mut good = FrameDecoder::new(Route::ServerToProducer, 0);
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
