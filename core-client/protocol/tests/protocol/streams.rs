//! Properties of streams, however they are split into chunks, and of arbitrary bytes: the
//! same events, no panic, and a decoder never asks for more bytes than the largest block
//! or frame has.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use styx_protocol::block::{self, Block, Codec, Origin};
use styx_protocol::frame::{self, Ack, Ends, Event, Fault, Route};
use styx_protocol::limits::{ACK_RUNS_MAX, BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use styx_protocol::styx0::{self, Message};
use styx_protocol::{Code, Codecs, Position, Records, record};

const RECORD_BYTES_MAX: u64 = 2000;
const PAYLOAD_BYTES_MAX: usize = 50;

fn run(payloads: &[Vec<u8>]) -> Records {
    let mut builder = record::Builder::new();
    payloads.iter().for_each(|payload| assert!(builder.push(payload)));
    builder.take()
}

/// Payloads, some of them repetitive, so that compression makes a difference.
fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let repeated = (any::<u8>(), 0usize..60).prop_map(|(byte, bytes)| vec![byte; bytes]);
    vec(prop_oneof![repeated, vec(any::<u8>(), 0..60)], 1..40)
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn one_block() -> impl Strategy<Value = Bytes> {
    (payloads(), codec(), any::<(u64, u64)>()).prop_map(|(payloads, codec, (id, sequence))| {
        let origin = Origin { producer_id: id, sequence, ..Origin::default() };
        block::build_with(codec, None, &run(&payloads), origin)
    })
}

fn route() -> impl Strategy<Value = Route> {
    prop::sample::select(vec![
        Route::ProducerToServer,
        Route::ConsumerToServer,
        Route::ServerToProducer,
        Route::ServerToConsumer,
    ])
}

/// Frames that are allowed on this route, each with its event.
fn frames(route: Route) -> impl Strategy<Value = (BytesMut, Vec<Event>)> {
    let (from_server, to_consumer) = (
        matches!(route, Route::ServerToConsumer | Route::ServerToProducer),
        route == Route::ServerToConsumer,
    );
    let ends = any::<(u32, u32)>().prop_map(move |(start, held)| {
        let start = u64::from(start);
        let ends = Ends { start: start.into(), end: (start + u64::from(held)).into() };
        vec![Event::Heartbeat(to_consumer.then_some(ends))]
    });
    let blocks = vec(one_block().prop_map(Event::Block), 1..4);
    let runs = vec((any::<u32>(), 1u32..1000), 1..5).prop_map(|runs| {
        let mut ack = Ack::default();
        runs.into_iter().for_each(|(base, count)| ack.add(Position(base.into()), count));
        vec![Event::Ack(ack)]
    });
    let body = match route {
        Route::ConsumerToServer => ends.boxed(),
        Route::ServerToProducer => prop_oneof![ends, runs].boxed(),
        Route::ProducerToServer | Route::ServerToConsumer => prop_oneof![ends, blocks].boxed(),
    };
    let fault = (prop::sample::select(Code::all().collect::<Vec<_>>()), ".{0,30}", any::<u64>())
        .prop_map(|(code, message, a)| {
            Event::Error(Fault { a, b: a / 3, ..Fault::new(code, message) })
        });
    let end = any::<bool>().prop_map(move |forget| Event::End { forget: forget && !from_server });
    let last = match route {
        Route::ConsumerToServer => Just(None).boxed(),
        Route::ProducerToServer => prop::option::of(end).boxed(),
        Route::ServerToProducer => prop::option::of(fault).boxed(),
        Route::ServerToConsumer => prop::option::of(prop_oneof![fault, end]).boxed(),
    };
    (vec(body, 0..6), last).prop_map(|(frames, last)| {
        let (mut bytes, mut events, mut acked) = (BytesMut::new(), Vec::new(), 0);
        for mut frame in frames.into_iter().chain(last.map(|last| vec![last])) {
            let blocks_bytes = frame.iter().map(|event| match event {
                Event::Block(block) => block.len(),
                _ => 0,
            });
            let blocks_bytes = blocks_bytes.sum();
            if blocks_bytes > 0 {
                bytes.extend_from_slice(&frame::blocks_header(blocks_bytes));
            }
            for event in &mut frame {
                match event {
                    Event::Block(block) => bytes.extend_from_slice(block),
                    Event::Ack(ack) => {
                        ack.count += acked;
                        acked = ack.count;
                        ack.clone().encode(&mut bytes);
                    }
                    Event::Heartbeat(ends) => frame::encode_heartbeat(*ends, &mut bytes),
                    Event::Error(fault) => fault.encode(&mut bytes),
                    Event::End { forget } => frame::encode_end(*forget, &mut bytes),
                }
            }
            events.append(&mut frame);
        }
        (bytes, events)
    })
}

fn streams() -> impl Strategy<Value = (Route, BytesMut, Vec<Event>)> {
    route().prop_flat_map(|route| {
        frames(route).prop_map(move |(bytes, events)| (route, bytes, events))
    })
}

/// Everything that is decoded from `bytes`, pushed in chunks of these sizes.
fn decode(route: Route, bytes: &[u8], sizes: &[usize]) -> (Vec<Event>, Result<(), frame::Error>) {
    let ack_bytes_max = 16 + 12 * ACK_RUNS_MAX;
    let bound = (BLOCK_HEADER_BYTES + BLOCK_RAW_BYTES_MAX).max(ack_bytes_max);
    let mut decoder = frame::FrameDecoder::new(route, RECORD_BYTES_MAX);
    let mut events = Vec::new();
    for chunk in chunks(bytes, sizes) {
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

/// `bytes` in chunks of these sizes, repeated, none empty.
fn chunks<'b>(bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let (mut rest, mut chunks) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at((*size).clamp(1, rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

fn decode_styx0(bytes: &[u8], sizes: &[usize]) -> (Vec<String>, Result<(), styx0::Error>) {
    let mut decoder = styx0::MessageDecoder::new(PAYLOAD_BYTES_MAX);
    let mut shown = Vec::new();
    for chunk in chunks(bytes, sizes) {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(Some(message)) => shown.push(format!("{message:?}")),
                Ok(None) => break,
                Err(error) => return (shown, Err(error)),
            }
        }
        assert!((1..=PAYLOAD_BYTES_MAX + 18).contains(&decoder.missing()));
    }
    let end = decoder.finish();
    (shown, end)
}

proptest! {
    #[test]
    fn chunks_of_any_size_give_the_same_events(
        (route, bytes, events) in streams(), sizes in vec(1usize..200, 1..5),
    ) {
        let (found, end) = decode(route, &bytes, &sizes);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(found, events);
    }

    #[test]
    fn a_stream_that_ends_early_gives_what_is_whole(
        (route, bytes, events) in streams(), at in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!bytes.is_empty());
        let (found, end) = decode(route, &bytes[..at.index(bytes.len())], &[usize::MAX]);
        prop_assert!(events.starts_with(&found));
        prop_assert!(end.is_ok() || end == Err(frame::Error::Cut));
    }

    #[test]
    fn damaged_streams_do_not_depend_on_chunks(
        (route, mut bytes, _) in streams(), sizes in vec(1usize..200, 1..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        prop_assume!(!bytes.is_empty());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(decode(route, &bytes, &sizes), decode(route, &bytes, &[usize::MAX]));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_greedy(
        route in route(), kind in 0u8..7, bytes in vec(any::<u8>(), 0..200),
        sizes in vec(1usize..20, 1..3),
    ) {
        let bytes = [&[kind, 0, 0, 0, 0, 0][..], &bytes].concat();
        prop_assert_eq!(decode(route, &bytes, &sizes), decode(route, &bytes, &[usize::MAX]));
        let bytes = [&[0, kind][..], &bytes].concat();
        prop_assert_eq!(decode_styx0(&bytes, &sizes), decode_styx0(&bytes, &[usize::MAX]));
    }

    #[test]
    fn styx0_does_not_depend_on_chunks(
        payloads in vec(vec(any::<u8>(), 0..PAYLOAD_BYTES_MAX), 0..20),
        count_max in 0u64..25, sizes in vec(1usize..20, 1..5),
    ) {
        let mut bytes = BytesMut::new();
        let count = styx0::encode_records(&run(&payloads), count_max, &mut bytes) as usize;
        prop_assert_eq!(count, payloads.len().min(count_max as usize));
        styx0::encode_heartbeat(&mut bytes);
        let mut expected: Vec<_> =
            payloads[..count].iter().map(|p| format!("{:?}", Message::Record(p))).collect();
        expected.push(format!("{:?}", Message::Heartbeat));
        prop_assert_eq!(decode_styx0(&bytes, &sizes), (expected, Ok(())));
    }

    #[test]
    fn packed_blocks_survive(payloads in payloads(), codec in codec(), level in -3i32..8) {
        let records = run(&payloads);
        let built = block::build_with(codec, Some(level), &records, Origin::default());
        let plain = block::build(&records, Origin::default());
        prop_assert!(built.len() <= plain.len());
        let (block, rest) = Block::parse(built, 0).expect("what was built is good");
        prop_assert!(rest.is_empty());
        prop_assert_eq!(block.records(), Ok(records.clone()));
        prop_assert!(Codecs::ALL.contains(block.header().codec));
        let longest = records.longest();
        let checked = block.clone().into_checked(longest).expect("what was built is good");
        prop_assert_eq!((checked.count(), checked.longest()), (records.count(), longest));
        if longest > 0 {
            prop_assert!(block.clone().into_checked(longest - 1).is_err());
        }
        match block.unpacked().expect("what was built is good") {
            Some(unpacked) => prop_assert_eq!(unpacked.body(), records.bytes()),
            None => prop_assert_eq!(block.body(), records.bytes()),
        }
    }

    #[test]
    fn a_damaged_packed_body_is_an_error_or_other_records(
        payloads in payloads(), codec in codec(), at in any::<prop::sample::Index>(),
        byte in any::<u8>(), raw_size in prop::option::of(0u32..3000),
    ) {
        let built = block::build_with(codec, None, &run(&payloads), Origin::default());
        let (mut header, _) = block::Header::decode(&built).expect("what was built is good");
        let mut body = built[BLOCK_HEADER_BYTES..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        header.body_crc = crc32fast::hash(&body);
        header.raw_size = raw_size.unwrap_or(header.raw_size);
        let bytes = [&header.encode().0[..], &body].concat();
        if let Ok((block, _)) = Block::parse(bytes.into(), 0) {
            if let Ok(records) = block.records() {
                prop_assert_eq!(records.bytes().len(), header.raw_size as usize);
            }
            let checked = block.checked_records();
            prop_assert_eq!(block.into_checked(usize::MAX).is_ok(), checked.is_ok());
        }
    }
}
