//! Properties of arbitrary bytes, however they are split into chunks.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use styx_protocol::block::{self, Block, Codec, Flags, Header, Origin};
use styx_protocol::{LineEnding, Position, ReadParams, ReadType, Records, WriteType};
use styx_protocol::{binary_records, lines, record};

const PAYLOAD_BYTES_MAX: usize = 64;

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..=PAYLOAD_BYTES_MAX), 0..20)
}

fn run(payloads: &[Vec<u8>]) -> Records {
    let mut builder = record::Builder::new();
    payloads.iter().for_each(|payload| assert!(builder.push(payload)));
    builder.take()
}

/// `bytes` in chunks of these sizes, repeated; a size of 0 is an empty chunk.
fn chunks(bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        chunks.push(rest.split_to((*size).min(rest.len())));
        if rest.is_empty() || sizes.iter().all(|s| *s == 0) {
            break;
        }
    }
    chunks.push(rest);
    chunks
}

/// Runs one of the two decoders, which have the same shape, over chunks.
macro_rules! decode {
    ($decoder:expr, $chunks:expr) => {{
        let mut decoder = $decoder;
        let mut found: Vec<Bytes> = Vec::new();
        let mut result = Ok(());
        'all: for chunk in $chunks {
            decoder.push(chunk);
            loop {
                match decoder.next_payload() {
                    Ok(Some(payload)) => found.push(payload),
                    Ok(None) => break,
                    Err(error) => {
                        result = Err(error);
                        break 'all;
                    }
                }
            }
        }
        while result.is_ok() {
            match decoder.finish() {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break,
                Err(error) => result = Err(error),
            }
        }
        (found, result)
    }};
}

fn ending() -> impl Strategy<Value = LineEnding> {
    prop::sample::select(LineEnding::ALL.to_vec())
}

/// Bytes with many of the values that the decoders look for.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(1), any::<u8>()], 0..300)
}

proptest! {
    #[test]
    fn records_survive(payloads in payloads(), skip in 0u32..25) {
        let records = run(&payloads);
        let parsed = Records::parse(records.bytes().clone());
        prop_assert_eq!(&parsed, &Ok(records.clone()));
        let found: Vec<_> = records.skip(skip).payloads().collect();
        let skip = payloads.len().min(skip as usize);
        prop_assert_eq!(found, &payloads[skip..]);
        prop_assert_eq!(records.longest(), payloads.iter().map(Vec::len).max().unwrap_or(0));
    }

    #[test]
    fn one_flipped_bit_of_a_record_is_found(
        payloads in payloads(), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let records = run(&payloads);
        prop_assume!(!records.is_empty());
        let mut bytes = records.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(Records::parse(bytes.into()).is_err());
    }

    #[test]
    fn headers_survive(
        codec in prop::sample::select(vec![Codec::None, Codec::Lz4, Codec::Zstd]),
        flags in prop::sample::select(vec![Flags::NONE, Flags::FILLER, Flags::SEAL]),
        (count, body_size, raw_size, producer_epoch, body_crc) in any::<(u32, u32, u32, u32, u32)>(),
        (base_position, timestamp_us, producer_id, sequence) in any::<(u64, u64, u64, u64)>(),
        (segment_salt, durable_position, open_epoch, prev_crc) in any::<(u64, u64, u32, u32)>(),
        damage in 4usize..96,
    ) {
        let header = Header {
            codec, flags, count, body_size, raw_size, base_position, timestamp_us, producer_id,
            sequence, producer_epoch, body_crc, segment_salt, open_epoch, prev_crc,
            durable_position,
        };
        let (mut bytes, crc) = header.encode();
        prop_assert_eq!(Header::decode(&bytes), Ok((header, crc)));
        bytes[damage] ^= 0x10;
        prop_assert_eq!(Header::decode(&bytes), Err(block::Error::NotAHeader));
    }

    #[test]
    fn blocks_survive(
        payloads in payloads(), (producer_id, sequence) in any::<(u64, u64)>(),
        expected in any::<Option<u64>>(), behind in vec(any::<u8>(), 0..10),
    ) {
        let records = run(&payloads);
        let expected = expected.map(Position);
        let origin = Origin { producer_id, producer_epoch: 3, sequence, expected };
        let built = block::build(&records, origin);
        let (block, rest) = Block::parse([&built[..], &behind].concat().into(), 0)
            .expect("what was built is good");
        prop_assert_eq!(rest, behind);
        prop_assert_eq!(block.checked_records(), Ok(records.clone()));
        prop_assert_eq!(block.records(), Ok(records));
        prop_assert_eq!(block.check_from_producer().is_ok(), !payloads.is_empty());
    }

    #[test]
    fn binary_records_survive_any_chunks(payloads in payloads(), sizes in vec(0usize..20, 1..5)) {
        let mut body = BytesMut::new();
        payloads.iter().for_each(|payload| binary_records::encode(payload, &mut body));
        let decoder = binary_records::BinaryRecordsDecoder::new(PAYLOAD_BYTES_MAX);
        let (found, result) = decode!(decoder, chunks(&body, &sizes));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(found, payloads);
    }

    #[test]
    fn binary_records_do_not_depend_on_chunks(body in tricky(), sizes in vec(0usize..20, 1..5)) {
        let new = || binary_records::BinaryRecordsDecoder::new(PAYLOAD_BYTES_MAX);
        let whole = decode!(new(), [Bytes::from(body.clone())]);
        prop_assert_eq!(decode!(new(), chunks(&body, &sizes)), whole);
    }

    #[test]
    fn lines_survive_any_chunks(
        body in tricky(), ending in ending(), sizes in vec(0usize..20, 1..5),
    ) {
        let decoder = lines::LinesDecoder::new(ending, usize::MAX);
        let (found, result) = decode!(decoder, chunks(&body, &sizes));
        prop_assert_eq!(result, Ok(()));
        // By definition: the bytes between the endings.
        let mut expected: Vec<&[u8]> = Vec::new();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let width = ending.bytes().len();
            match rest.windows(width).position(|w| w == ending.bytes()) {
                Some(at) => {
                    expected.push(&rest[..at]);
                    rest = &rest[at + width..];
                }
                None => expected.push(std::mem::take(&mut rest)),
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn long_lines_do_not_depend_on_chunks(
        body in tricky(), ending in ending(), sizes in vec(0usize..20, 1..5),
    ) {
        let new = || lines::LinesDecoder::new(ending, 10);
        let whole = decode!(new(), [Bytes::from(body.clone())]);
        prop_assert_eq!(decode!(new(), chunks(&body, &sizes)), whole);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300), text in ".{0,60}") {
        let bytes = Bytes::from(bytes);
        let _ = Records::parse(bytes.clone());
        let _ = Records::parse_lengths(bytes.clone());
        let _ = Header::decode(&bytes);
        let _ = Block::parse(bytes, 1 << 20);
        let _ = WriteType::parse(Some(&text));
        let _ = ReadType::parse(Some(&text));
        let _ = ReadParams::parse([("whence", text.as_str())]);
        let _ = ReadParams::parse([("whence", "time"), ("position", text.as_str())]);
    }

    #[test]
    fn no_body_under_a_good_header_panics(
        body in vec(any::<u8>(), 0..200), count in 0u32..4, flags in 0u8..8, codec in 0u8..3,
    ) {
        let size = u32::try_from(body.len()).expect("is small");
        let body_crc = crc32fast::hash(&body);
        let header =
            Header { count, body_size: size, raw_size: size, body_crc, ..Header::default() };
        let (mut bytes, _) = header.encode();
        (bytes[9], bytes[11]) = (codec, flags);
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        let (block, _) = Block::parse([&bytes[..], &body].concat().into(), 0).expect("is framed");
        if let Ok(records) = block.records() {
            prop_assert_eq!(records.payloads().count(), records.count() as usize);
        }
        let _ = block.checked_records();
        let _ = block.check_from_producer();
    }
}
