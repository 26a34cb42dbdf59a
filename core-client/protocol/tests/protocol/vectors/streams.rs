//! styx/1, styx/0, and checkpoints. Streams are decoded whole, and cut into
//! chunks in every way that has two.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use styx_protocol::frame::{self, Event, Outcome, Route};
use styx_protocol::styx0::{self, Message};
use styx_protocol::{Checkpoint, LogId, Position, checkpoint};

use super::{PAYLOAD_BYTES_MAX, each, number};

const RECORD_BYTES_MAX: u64 = 2 << 20;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn frames() {
    each("frame", |vector, bytes| {
        let route = match vector["route"].as_str().expect("a route") {
            "producer_to_server" => Route::ProducerToServer,
            "consumer_to_server" => Route::ConsumerToServer,
            "server_to_producer" => Route::ServerToProducer,
            "server_to_consumer" => Route::ServerToConsumer,
            other => panic!("no such route: {other}"),
        };
        let expected: Vec<Value> = vector["events"].as_array().expect("events").clone();
        let error = vector["error"].as_str();
        for cut in 0..=bytes.len() {
            let (events, end) = decode_frames(route, &bytes, cut);
            let shown: Vec<Value> = events.iter().map(show_event).collect();
            assert_eq!(shown, expected, "cut at {cut}");
            assert_eq!(end.err().map(frame_error), error, "cut at {cut}");
            if cut == 0 && error.is_none() {
                let blocks = events.iter().filter(|e| matches!(e, Event::Block(_))).count();
                // Several blocks may have been in one frame.
                if blocks < 2 {
                    assert_eq!(encode_frames(&events), bytes);
                }
            }
        }
    });
}

fn decode_frames(route: Route, bytes: &[u8], cut: usize) -> (Vec<Event>, Result<(), frame::Error>) {
    let mut decoder = frame::FrameDecoder::new(route, RECORD_BYTES_MAX);
    let (mut events, mut end) = (Vec::new(), Ok(()));
    for chunk in [&bytes[..cut], &bytes[cut..]] {
        decoder.push(chunk);
        while end.is_ok() {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => end = Err(error),
            }
        }
    }
    (events, end.and_then(|()| decoder.finish()))
}

fn show_event(event: &Event) -> Value {
    match event {
        Event::Block(block) => json!({ "block": hex(block) }),
        Event::Ack(ack) => {
            let runs: Vec<_> = ack.runs.iter().map(|run| json!([run.base.0, run.count])).collect();
            json!({ "ack": { "count": ack.count, "runs": runs } })
        }
        Event::Heartbeat(None) => json!({ "heartbeat": null }),
        Event::Heartbeat(Some(ends)) => json!({ "heartbeat": [ends.start.0, ends.end.0] }),
        Event::Error(fault) => {
            let outcome = match fault.outcome {
                Outcome::NotAppended => "not_appended",
                Outcome::Unknown => "unknown",
            };
            json!({ "error": {
                "code": fault.code.as_str(), "outcome": outcome,
                "retry_after_ms": fault.retry_after_ms, "a": fault.a, "b": fault.b,
                "message": fault.message,
            } })
        }
        Event::End { forget } => json!({ "end": forget }),
    }
}

fn encode_frames(events: &[Event]) -> Bytes {
    let mut out = BytesMut::new();
    for event in events {
        match event {
            Event::Block(block) => {
                out.extend_from_slice(&frame::blocks_header(block.len()));
                out.extend_from_slice(block);
            }
            Event::Ack(ack) => ack.clone().encode(&mut out),
            Event::Heartbeat(ends) => frame::encode_heartbeat(*ends, &mut out),
            Event::Error(fault) => fault.encode(&mut out),
            Event::End { forget } => frame::encode_end(*forget, &mut out),
        }
    }
    out.freeze()
}

fn frame_error(error: frame::Error) -> &'static str {
    match error {
        frame::Error::Kind(_) => "kind",
        frame::Error::Flags { .. } => "flags",
        frame::Error::Reserved(_) => "reserved",
        frame::Error::Size { .. } => "size",
        frame::Error::Unexpected(_) => "unexpected",
        frame::Error::AfterLast(_) => "after_last",
        frame::Error::Block(_) => "block",
        frame::Error::Boundary { .. } => "boundary",
        frame::Error::Field { .. } => "field",
        frame::Error::Text => "text",
        frame::Error::Cut => "cut",
    }
}

#[test]
fn styx0_messages() {
    each("styx0", |vector, bytes| {
        let expected = vector["messages"].as_array().expect("messages");
        for cut in 0..=bytes.len() {
            let (shown, again, end) = decode_styx0(&bytes, cut);
            assert_eq!(&shown, expected, "cut at {cut}");
            let error = end.err().map(|error| match error {
                styx0::Error::Type(_) => "type",
                styx0::Error::NegativeSize(_) => "negative_size",
                styx0::Error::TooLarge { .. } => "too_large",
                styx0::Error::NegativeAck(_) => "negative_ack",
                styx0::Error::Cut => "cut",
            });
            assert_eq!(error, vector["error"].as_str(), "cut at {cut}");
            assert!(bytes.starts_with(&again) || shown.contains(&json!({ "error": -1 })));
        }
    });
}

type Styx0 = (Vec<Value>, BytesMut, Result<(), styx0::Error>);

fn decode_styx0(bytes: &[u8], cut: usize) -> Styx0 {
    let mut decoder = styx0::MessageDecoder::new(PAYLOAD_BYTES_MAX);
    let (mut shown, mut again, mut end) = (Vec::new(), BytesMut::new(), Ok(()));
    for chunk in [&bytes[..cut], &bytes[cut..]] {
        decoder.push(chunk);
        while end.is_ok() {
            shown.push(match decoder.next() {
                Ok(Some(Message::Record(payload))) => {
                    styx0::encode_record(payload, &mut again);
                    json!({ "record": hex(payload) })
                }
                Ok(Some(Message::Ack { position, count })) => {
                    styx0::encode_ack(position, count, &mut again);
                    json!({ "ack": [position.0, count] })
                }
                Ok(Some(Message::Heartbeat)) => {
                    styx0::encode_heartbeat(&mut again);
                    json!({ "heartbeat": null })
                }
                Ok(Some(Message::Error(code))) => {
                    styx0::encode_error(&mut again);
                    json!({ "error": code })
                }
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            });
        }
    }
    (shown, again, end.and_then(|()| decoder.finish()))
}

#[test]
fn checkpoints() {
    each("checkpoint", |vector, _| {
        let text = vector["text"].as_str().expect("text");
        let parsed = text.parse::<Checkpoint>();
        if vector["error"] == true {
            assert_eq!(parsed, Err(checkpoint::Invalid(text.to_owned())));
            return;
        }
        let log_id: LogId = vector["log_id"].as_str().expect("an id").parse().expect("is good");
        let next = Position(number(&vector["position"]));
        assert_eq!(parsed, Ok(Checkpoint { log_id, next }));
        assert_eq!(Checkpoint { log_id, next }.to_string(), text);
    });
}
