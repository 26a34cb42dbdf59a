//! The sessions in docs/protocol.md: every byte that is printed there is decoded here, and
//! equals what this crate sends.

use bytes::{Bytes, BytesMut};
use styx_protocol::block::{self, Block, Codec, Header, Origin};
use styx_protocol::frame::{self, AckRun, Ends, Event, Fault, FrameDecoder, Route};
use styx_protocol::handshake::{Offer, ProducerParams, Protocol};
use styx_protocol::styx0::{self, Message};
use styx_protocol::{Checkpoint, Code, Codecs, Position, ReadParams, Records, header, record};

const RECORD_BYTES_MAX: u64 = 1 << 20;
const ORIGIN: Origin =
    Origin { producer_id: 0x0123_4567_89ab_cdef, producer_epoch: 1, sequence: 0, expected: None };
const TICK: &str = "tick tick tick tick";

/// The fenced blocks of this language, in order.
fn fences(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let document = std::fs::read_to_string(path).expect("the document is there");
    let begin = format!("```{language}\n");
    let behind = document.split(&begin).skip(1);
    behind.map(|text| text.split("```").next().expect("it ends").to_owned()).collect()
}

/// The bytes that the client and the server send in one fenced block.
fn sides(fence: &str) -> (Bytes, Bytes) {
    let side = |mark: &str| -> Bytes {
        let lines = fence.lines().filter_map(|line| line.strip_prefix(mark));
        let digits: String = lines
            .map(|line| line.split(';').next().expect("a first part"))
            .flat_map(str::chars)
            .filter(|char| !char.is_whitespace())
            .collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
    };
    (side(">"), side("<"))
}

fn events(route: Route, bytes: &[u8]) -> Vec<Event> {
    let mut decoder = FrameDecoder::new(route, RECORD_BYTES_MAX);
    decoder.push(bytes);
    let mut events = Vec::new();
    while let Some(event) = decoder.next().expect("the document is right") {
        events.push(event);
    }
    decoder.finish().expect("nothing is cut");
    events
}

fn run(payloads: &[&str]) -> Records {
    let mut builder = record::Builder::new();
    payloads.iter().for_each(|payload| assert!(builder.push(payload.as_bytes())));
    builder.take()
}

fn block_of(event: &Event) -> Block {
    let Event::Block(bytes) = event else { panic!("{event:?} is no block") };
    Block::parse(bytes.clone(), RECORD_BYTES_MAX).expect("the document is right").0
}

#[test]
fn producing() {
    let (sent, answered) = sides(&fences("hex")[0]);
    let sent = events(Route::ProducerToServer, &sent);
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[0], Event::Block(block::build(&run(&["hello", ""]), ORIGIN)));
    let packed = block_of(&sent[1]).into_checked(TICK.len()).expect("a server takes it");
    assert_eq!(packed.header().codec, Codec::Lz4);
    assert_eq!(packed.header().sequence, 2);
    assert_eq!(packed.block().checked_records(), Ok(run(&[TICK; 3])));
    assert_eq!(sent[2..], [Event::Heartbeat(None), Event::End { forget: false }]);

    let mut expected = BytesMut::new();
    let mut ack = frame::Ack::default();
    ack.add(Position(40), 2);
    ack.encode(&mut expected);
    frame::encode_heartbeat(None, &mut expected);
    ack.add(Position(42), 3);
    ack.encode(&mut expected);
    assert_eq!(answered, expected);
    let acks = events(Route::ServerToProducer, &answered);
    let Event::Ack(last) = &acks[2] else { panic!("{acks:?}") };
    assert_eq!((last.count, &last.runs[..]), (5, &[AckRun { base: Position(42), count: 3 }][..]));
}

#[test]
fn consuming() {
    let hex = fences("hex");
    let (sent, answered) = sides(&hex[1]);
    assert_eq!(events(Route::ConsumerToServer, &sent), [Event::Heartbeat(None)]);
    let answered = events(Route::ServerToConsumer, &answered);
    let (first, second) = (block_of(&answered[0]), block_of(&answered[1]));
    assert_eq!(first.records(), Ok(run(&["hello", ""])));
    assert_eq!(second.records(), Ok(run(&[TICK; 3])));
    assert_eq!(first.header().end_position(), second.header().base_position);
    assert_eq!(second.header().prev_crc, first.header_crc());
    let ends = Ends { start: Position(0), end: Position(45) };
    assert_eq!(answered[2..], [Event::Heartbeat(Some(ends)), Event::End { forget: false }]);

    // The server stores the bodies unchanged.
    let produced = events(Route::ProducerToServer, &sides(&hex[0]).0);
    for (produced, stored) in produced.iter().zip([first, second]) {
        let produced = block_of(produced);
        assert_eq!(stored.body(), produced.body());
        let h = *stored.header();
        let servers = Header {
            base_position: 0,
            timestamp_us: 0,
            segment_salt: 0,
            open_epoch: 0,
            prev_crc: 0,
            durable_position: 0,
            ..h
        };
        assert_eq!(&servers, produced.header());
    }
}

#[test]
fn refused() {
    let (_, answered) = sides(&fences("hex")[2]);
    let fault = Fault::new(Code::SequenceGap, "sequence 5 is next").with_expected_sequence(5);
    let mut expected = BytesMut::new();
    fault.encode(&mut expected);
    assert_eq!(answered, expected);
    assert_eq!(events(Route::ServerToProducer, &answered), [Event::Error(fault)]);
}

#[test]
fn styx0_session() {
    let (sent, answered) = sides(&fences("hex")[3]);
    let mut expected = BytesMut::new();
    styx0::encode_records(&run(&["one", "two", "three"]), u64::MAX, &mut expected);
    styx0::encode_heartbeat(&mut expected);
    assert_eq!(sent, expected);
    let mut decoder = styx0::MessageDecoder::new(10);
    decoder.push(&answered);
    assert_eq!(decoder.next(), Ok(Some(Message::Ack { position: Position(3), count: 3 })));
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.finish(), Ok(()));
}

/// The parts of a handshake: the query of its request, and the headers of both.
struct Handshake {
    query: Vec<(String, String)>,
    request: Vec<(String, String)>,
    answer: Vec<(String, String)>,
}

impl Handshake {
    fn of(fence: &str) -> Handshake {
        let (request, answer) = fence.split_once("\n\n").expect("a request and an answer");
        let (_, target) = request.lines().next().and_then(|l| l.split_once('?')).expect("a query");
        let query = target.split(' ').next().expect("a query");
        let pair = |separator| {
            move |text: &str| {
                let (name, value) = text.split_once(separator).expect("a pair");
                (name.to_lowercase(), value.trim().to_owned())
            }
        };
        Handshake {
            query: query.split('&').map(pair('=')).collect(),
            request: request.lines().skip(1).map(pair(':')).collect(),
            answer: answer.lines().skip(1).map(pair(':')).collect(),
        }
    }
}

fn value<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    let found = headers.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no {name} in {headers:?}")).1
}

#[test]
fn handshakes() {
    let http = fences("http");
    let [producer, consumer] = [0, 1].map(|index| Handshake::of(&http[index]));
    for Handshake { request, answer, .. } in [&producer, &consumer] {
        for headers in [request, answer] {
            let offer = Offer::parse([value(headers, "upgrade")]);
            assert_eq!(offer, Offer::Known(Protocol::Styx1));
            for (name, _) in headers.iter().filter(|(name, _)| name.starts_with("x-")) {
                assert!(header::ALL.contains(&name.as_str()), "{name}");
            }
        }
        let codecs = |headers| Codecs::from_features(value(headers, header::FEATURES));
        assert_eq!(codecs(request), codecs(answer));
    }
    let named = ProducerParams::parse(producer.query).expect("is good").expect("is named");
    assert_eq!((named.id.get(), named.epoch), (ORIGIN.producer_id, None));
    let epoch: Result<u32, _> = value(&producer.answer, header::EPOCH).parse();
    assert_eq!(epoch, Ok(ORIGIN.producer_epoch));
    let end: Result<u64, _> = value(&producer.answer, header::END_POSITION).parse();
    assert_eq!(end, Ok(40), "where the first block goes");
    let read = ReadParams::parse(consumer.query).expect("is good");
    assert_eq!(read.position.to_string(), value(&consumer.answer, header::POSITION));
    let text = fences("text").into_iter().find_map(|text| text.trim().parse::<Checkpoint>().ok());
    let checkpoint = text.expect("a checkpoint stands there");
    assert_eq!(checkpoint.log_id.to_string(), value(&consumer.answer, header::LOG_ID));
}
