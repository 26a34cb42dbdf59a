//! Fuzz targets for the bytes that clients send: records, blocks, request bodies, headers,
//! parameters and names.
//!
//! Invariant: decoding never panics, and encoding a decoded value gives the same bytes or an equal
//! value.

use bytes::{Bytes, BytesMut};
use styx_protocol::block::{Block, Header, build};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use styx_protocol::{
    LineEnding, LogConfig, LogId, LogName, ReadParams, ReadType, Records, WriteType,
    binary_records as binary, lines as line, record as one,
};

use super::fixup;

/// Larger payloads are refused. Inputs can exceed this limit, so the refusal is tested too.
const PAYLOAD_BYTES_MAX: usize = 300;

/// Contiguous records.
pub(super) fn record(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 {
        fixup::records(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    let checked = Records::parse(bytes.clone());
    let framed = Records::parse_lengths(bytes.clone());
    if let Ok(records) = &checked {
        assert_eq!(framed.as_ref(), Ok(records), "valid records have valid sizes");
        assert_eq!(records.bytes(), &bytes);
        assert_eq!(records.payloads().count(), records.count() as usize);
        let mut again = BytesMut::new();
        for payload in records.payloads() {
            assert!(payload.len() <= records.longest());
            one::encode(&payload, &mut again);
        }
        assert_eq!(again, bytes, "records have exactly one encoding");
        for skip in 0..records.count().min(5) {
            let rest = records.skip(skip);
            assert_eq!(rest.count(), records.count() - skip);
            let skipped = records.payloads().skip(skip as usize);
            assert!(rest.payloads().eq(skipped), "records after the first {skip}");
        }
    }
}

/// The header of a block, 96 bytes.
pub(super) fn block_header(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 {
        fixup::header(&mut bytes);
    }
    if let Ok((header, crc)) = Header::decode(&bytes) {
        let (encoded, encoded_crc) = header.encode();
        // Reserved bytes are ignored by the decoder and encoded as zeros.
        if bytes[88..BLOCK_HEADER_BYTES] == [0; 8] {
            assert_eq!(encoded, bytes[..BLOCK_HEADER_BYTES]);
            assert_eq!(encoded_crc, crc);
        }
        assert_eq!(Header::decode(&encoded), Ok((header, encoded_crc)));
        assert!(header.end_position() >= header.base_position);
        let _ = styx_protocol::block::check_sizes(&header, 1000);
    }
}

/// Contiguous blocks, as a producer sends them.
pub(super) fn block(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    let _ = fixup::blocks(&mut bytes, fixup::Fixups::of(*mode), fixup::ChainPosition::default());
    let mut rest = Bytes::from(bytes);
    while let Ok((block, behind)) = Block::parse(rest.clone(), 2 * BLOCK_RAW_BYTES_MAX as u64) {
        assert_eq!(block.header().block_bytes(), (rest.len() - behind.len()) as u64);
        let (checked, unchecked) = (block.checked_records(), block.records());
        if let Ok(records) = checked {
            assert_eq!(unchecked, Ok(records.clone()), "both ways to get the records agree");
            if !block.header().is_marker() {
                assert_eq!(records.count(), block.header().count);
            }
            if !records.is_empty() {
                let built = build(&records, Default::default());
                let (again, none) =
                    Block::parse(built, u64::MAX).expect("a built block can be parsed");
                assert!(none.is_empty());
                assert_eq!(again.checked_records(), Ok(records));
                assert_eq!(again.check_from_producer(), Ok(()));
            }
        }
        let _ = block.check_from_producer();
        rest = behind;
    }
}

/// The media type binary-records. The decoder returns the same payloads and the same error for any
/// chunks.
pub(super) fn binary_records(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let decode = |chunk_bytes: usize| {
        let mut decoder = binary::BinaryRecordsDecoder::new(PAYLOAD_BYTES_MAX);
        let mut payloads = Vec::new();
        let fault = (|| {
            for chunk in bytes.chunks(chunk_bytes.max(1)) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(payload) = decoder.next_payload()? {
                    payloads.push(payload);
                }
            }
            while let Some(payload) = decoder.finish()? {
                payloads.push(payload);
            }
            Ok::<_, binary::Error>(())
        })();
        (payloads, fault, decoder.offset())
    };
    let (payloads, fault, offset) = decode(bytes.len());
    assert_eq!(decode((*cut).into()), (payloads.clone(), fault, offset), "chunks of {cut}");
    let mut again = BytesMut::new();
    for payload in &payloads {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        binary::encode(payload, &mut again);
    }
    assert_eq!(again, bytes[..again.len()]);
    assert_eq!(offset, again.len() as u64);
    assert!(fault.is_err() || again.len() == bytes.len(), "every byte is decoded");
}

/// The media type line-delimited with each line ending, with the same checks.
pub(super) fn lines(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    for ending in LineEnding::ALL {
        let decode = |chunk_bytes: usize| {
            let mut decoder = line::LinesDecoder::new(ending, PAYLOAD_BYTES_MAX);
            let mut payloads = Vec::new();
            let fault = (|| {
                for chunk in bytes.chunks(chunk_bytes.max(1)) {
                    decoder.push(Bytes::copy_from_slice(chunk));
                    while let Some(payload) = decoder.next_payload()? {
                        payloads.push(payload);
                    }
                }
                while let Some(payload) = decoder.finish()? {
                    payloads.push(payload);
                }
                Ok::<_, line::Error>(())
            })();
            (payloads, fault, decoder.offset())
        };
        let (payloads, fault, offset) = decode(bytes.len());
        let cut = decode((*cut).into());
        assert_eq!(cut, (payloads.clone(), fault, offset), "{ending:?}");
        let mut again = BytesMut::new();
        for payload in &payloads {
            assert!(payload.len() <= PAYLOAD_BYTES_MAX);
            line::encode(payload, ending, &mut again);
        }
        if fault.is_ok() {
            // The input may lack the last line ending.
            assert!(again.starts_with(bytes), "{ending:?}");
        }
    }
}

/// The headers `Content-Type` and `Accept`.
pub(super) fn media_type(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(written) = WriteType::parse(Some(&text)) {
        assert_eq!(WriteType::parse(Some(written.content_type())), Ok(written));
    }
    if let Ok(read) = ReadType::parse(Some(&text)) {
        assert_eq!(ReadType::parse(Some(read.content_type())), Ok(read));
    }
}

/// The parameters of a read and of a log's configuration, one `name=value` a line.
pub(super) fn parameters(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pairs = || text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    let read = ReadParams::parse(pairs());
    let single = ReadParams::parse_single(pairs());
    if let Ok(params) = read {
        let single = single.expect("a single read has fewer parameters");
        assert_eq!((single.whence, single.position), (params.whence, params.position));
    }
    let mut config = LogConfig::default();
    for (name, value) in pairs() {
        if let (Some(field), Ok(value)) = (config.field_mut(name), value.parse()) {
            *field = value;
        }
        let _ = styx_protocol::read::parse_bool("flag", value);
    }
    if config.validate().is_ok() {
        let _ = config.payload_bytes_max();
    }
}

/// The names and ids of logs, line endings, and the names of segment files.
pub(super) fn names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(name) = text.parse::<LogName>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '\0']) && !text.starts_with('.') && text.len() <= 255);
    }
    if let Ok(id) = text.parse::<LogId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(ending) = text.parse::<LineEnding>() {
        assert!(text.eq_ignore_ascii_case(ending.as_str()));
    }
    let _ = crate::segment::name::parse(&text);
}
