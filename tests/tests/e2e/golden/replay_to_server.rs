//! A client of an earlier version against this server: its recorded bytes are sent again, and the answers are
//! compared with the recorded ones.
//!
//! The parts that may differ are masked explicitly: the values in [`MASKED_HEADERS`], and the fields of a block
//! that a server sets, in [`Seen::of`]. Headers that were not recorded, heartbeats, blocks without
//! records and the number of acks are not compared.

use std::time::Duration;

use bytes::Bytes;
use styx_protocol::block::Block;
use styx_protocol::frame::{Ack, AckRun, Event, FrameDecoder, Route};
use styx_tests::{Connection, TestServer};

use super::Golden;
use super::transcript::{Side, Transcript};

/// Headers whose values differ from run to run. They must be there.
const MASKED_HEADERS: [&str; 2] = ["X-Styx-Log-Id", "Date"];

/// How long the server may take for a step.
const PATIENCE: Duration = Duration::from_secs(30);

/// The frames of a server in a stream, without the parts that may differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// All acks in one.
    acks: Ack,
    /// The records' blocks: what the header says of them, and their bytes.
    blocks: Vec<(String, Bytes)>,
    /// Errors and ends.
    last: Vec<Event>,
}

impl Seen {
    #[track_caller]
    fn of(events: &[Event]) -> Seen {
        let mut seen = Seen::default();
        for event in events {
            match event {
                Event::Ack(Ack { runs, .. }) => {
                    runs.iter().for_each(|AckRun { base, count }| seen.acks.add(*base, *count));
                }
                Event::Block(bytes) => {
                    let (block, rest) = Block::parse(bytes.clone(), 1 << 30).expect("a block");
                    assert!(rest.is_empty());
                    let mut header = *block.header();
                    if header.is_marker() {
                        continue;
                    }
                    // Masked: the fields of the server, but for the position.
                    (header.timestamp_us, header.segment_salt, header.open_epoch) = (0, 0, 0);
                    (header.prev_crc, header.durable_position) = (0, 0);
                    seen.blocks.push((format!("{header:?}"), block.body().clone()));
                }
                Event::Heartbeat(_) => {}
                Event::Error(_) | Event::End { .. } => seen.last.push(event.clone()),
            }
        }
        seen
    }
}

/// Sends the client's steps, and returns the head and the events of the server.
#[track_caller]
fn replay(server: &TestServer, transcript: &Transcript) -> (String, Vec<Event>) {
    let producer = transcript.is_producer();
    let route = if producer { Route::ServerToProducer } else { Route::ServerToConsumer };
    let mut connection: Connection = server.connect();
    connection.set_patience(PATIENCE);
    let (mut head, mut events) = (None, Vec::new());
    let mut decoder = FrameDecoder::new(route, 1 << 30);
    for (i, step) in transcript.steps.iter().enumerate() {
        if step.from == Side::Client {
            connection.send(&step.bytes).expect("sent");
            continue;
        }
        let method = if producer { "POST" } else { "GET" };
        head.get_or_insert_with(|| connection.head(method).expect("an answer"));
        let acked = |events: &[Event]| Seen::of(events).acks.count;
        let expected = acked(&transcript.events(Side::Server, i + 1));
        while acked(&events) < expected {
            decoder.push(&connection.some().expect("an ack"));
            while let Some(event) = decoder.next().expect("valid frames") {
                events.push(event);
            }
        }
    }
    connection.finish_sending().expect("it is open");
    decoder.push(&connection.until_close().expect("the server closes"));
    while let Some(event) = decoder.next().expect("valid frames") {
        events.push(event);
    }
    let head = head.expect("an answer");
    let headers = head.headers.iter().map(|(name, value)| format!("\r\n{name}: {value}"));
    (head.status_line.clone() + &headers.collect::<String>(), events)
}

/// Names and values of the headers of a head, and its first line.
fn parse(head: &str) -> (&str, Vec<(&str, &str)>) {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    (first, lines.filter_map(|line| line.split_once(": ")).collect())
}

#[test]
fn streams_of_an_earlier_client_are_answered_as_recorded() {
    Golden::all().for_each(check);
}

fn check(golden: Golden) {
    let server = TestServer::with_log("orders");
    for transcript in &golden.transcripts() {
        let name = &transcript.name;
        let (head, events) = replay(&server, transcript);
        let (first, headers) = parse(&head);
        let (recorded, _) = transcript.sent(Side::Server, usize::MAX);
        let (recorded_first, recorded_headers) = parse(&recorded);
        assert_eq!(first, recorded_first, "{name}");
        for (header, value) in recorded_headers {
            let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
            let (_, found) = found.unwrap_or_else(|| panic!("{name}: no {header} in {head}"));
            if !MASKED_HEADERS.iter().any(|masked| masked.eq_ignore_ascii_case(header)) {
                assert_eq!(*found, value, "{header} of {name}");
            }
        }
        let recorded = Seen::of(&transcript.events(Side::Server, usize::MAX));
        assert_eq!(Seen::of(&events), recorded, "{name}");
    }
    assert_eq!(server.read_all("orders").len(), 153);
}
