//! Records and blocks, plain and packed.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use styx_protocol::block::{self, Block, Codec, Header, Origin, ParseError};
use styx_protocol::{Position, Records, record};

use super::{each, number, payloads};

#[test]
fn records() {
    each("record", |vector, bytes| {
        let parsed = Records::parse(bytes.clone());
        match vector["error"].as_str() {
            None => {
                let records = parsed.expect("is good");
                assert_eq!(records.payloads().collect::<Vec<_>>(), payloads(vector));
                let mut again = BytesMut::new();
                records.payloads().for_each(|payload| record::encode(&payload, &mut again));
                assert_eq!(again, bytes);
            }
            Some(kind) => {
                let offset = usize::try_from(number(&vector["offset"])).expect("is small");
                let expected = match kind {
                    "cut" => record::Error::Cut { offset },
                    "checksum" => record::Error::Checksum { offset },
                    other => panic!("no such error: {other}"),
                };
                assert_eq!(parsed, Err(expected));
            }
        }
    });
}

#[test]
fn blocks() {
    each("block", check_block);
}

#[test]
fn packed_blocks() {
    each("packed-block", check_block);
}

fn check_block(vector: &Value, bytes: Bytes) {
    let parsed = Block::parse(bytes.clone(), 2 << 20);
    let records = parsed.clone().and_then(|(block, _)| block.checked_records());
    if let Some(kind) = vector["error"].as_str() {
        let checked = parsed.and_then(|(block, _)| block.into_checked(usize::MAX));
        assert_eq!(records.map_err(fault), Err(kind));
        assert_eq!(checked.map_err(fault), Err(kind));
        return;
    }
    let (block, rest) = parsed.expect("is good");
    assert!(rest.is_empty());
    assert_eq!(records.expect("are good").payloads().collect::<Vec<_>>(), payloads(vector));
    assert_eq!(block.check_from_producer().is_ok(), vector["producer"] == true);
    check_fields(&block, &vector["fields"]);
    assert_eq!(block.header().encode().0, bytes[..96]);
    let plain = block.header().codec == Codec::None;
    if vector["producer"] == true {
        check_checked(vector, &block);
        if plain && block.header().flags.bits() < 2 {
            assert_eq!(rebuild(&block), bytes);
        }
    } else {
        let refused = block.clone().into_checked(usize::MAX);
        assert_eq!(refused.map_err(fault), Err("server_field"));
    }
    match block.unpacked().expect("is good") {
        None => assert!(plain),
        Some(unpacked) => {
            assert_eq!(unpacked.checked_records(), block.checked_records());
            let (header, crc) = unpacked.header().encode();
            assert_eq!(crc, unpacked.header_crc());
            let bytes = [&header[..], unpacked.body()].concat();
            let again = Block::parse(bytes.into(), 2 << 20).expect("is good");
            assert_eq!(again, (unpacked, Bytes::new()));
        }
    }
}

fn check_checked(vector: &Value, block: &Block) {
    let longest = payloads(vector).iter().map(Bytes::len).max().expect("it has records");
    let checked = block.clone().into_checked(longest).expect("is good");
    assert_eq!(checked.block(), block);
    assert_eq!(checked.body().as_ptr(), block.body().as_ptr());
    assert_eq!((checked.count() as usize, checked.longest()), (payloads(vector).len(), longest));
    let expected = (block.header().flags.bits() & 1 == 1).then_some(block.header().base_position);
    assert_eq!(checked.expected(), expected.map(Position));
    let refused = block.clone().into_checked(longest - 1);
    let (size, max) = (longest as u64 + 8, longest as u64 + 7);
    assert_eq!(refused, Err(ParseError::RecordTooLarge { size, max }));
}

fn check_fields(block: &Block, fields: &Value) {
    let h = block.header();
    let pairs = [
        ("header_crc", u64::from(block.header_crc())),
        ("codec", h.codec as u64),
        ("flags", u64::from(h.flags.bits())),
        ("count", u64::from(h.count)),
        ("body_size", u64::from(h.body_size)),
        ("raw_size", u64::from(h.raw_size)),
        ("base_position", h.base_position),
        ("timestamp_us", h.timestamp_us),
        ("producer_id", h.producer_id),
        ("sequence", h.sequence),
        ("producer_epoch", u64::from(h.producer_epoch)),
        ("body_crc", u64::from(h.body_crc)),
        ("segment_salt", h.segment_salt),
        ("open_epoch", u64::from(h.open_epoch)),
        ("prev_crc", u64::from(h.prev_crc)),
        ("durable_position", h.durable_position),
    ];
    for (name, value) in pairs {
        assert_eq!(value, number(&fields[name]), "{name}");
    }
    assert_eq!(fields.as_object().map(|o| o.len()), Some(pairs.len()));
}

fn rebuild(block: &Block) -> Bytes {
    let Header { producer_id, producer_epoch, sequence, .. } = *block.header();
    let expected = block
        .header()
        .flags
        .contains(block::Flags::EXPECT_POSITION)
        .then_some(Position(block.header().base_position));
    let records = block.records().expect("are good");
    block::build(&records, Origin { producer_id, producer_epoch, sequence, expected })
}

fn fault(error: ParseError) -> &'static str {
    match error {
        ParseError::Header(block::Error::NotAHeader) => "not_a_header",
        ParseError::Header(block::Error::Version(_)) => "version",
        ParseError::Header(block::Error::Codec(_)) => "codec",
        ParseError::Header(block::Error::Flags(_)) => "flags",
        ParseError::Cut { .. } => "cut",
        ParseError::TooLarge { .. } => "too_large",
        ParseError::BodyChecksum => "body_checksum",
        ParseError::Contradiction { .. } => "contradiction",
        ParseError::Records(_) => "record",
        ParseError::RecordTooLarge { .. } => "record_too_large",
        ParseError::Packed(_) => "packed",
        ParseError::ServerField(_) => "server_field",
    }
}
