//! Bodies of HTTP requests and answers.

use bytes::BytesMut;
use styx_protocol::{LineEnding, binary_records, lines};

use super::{PAYLOAD_BYTES_MAX, each, number, payloads};

#[test]
fn binary_records_vectors_decode() {
    use binary_records::{BinaryRecordsDecoder, Error, encode};
    each("binary-records", |vector, bytes| {
        let mut decoder = BinaryRecordsDecoder::new(PAYLOAD_BYTES_MAX);
        decoder.push(bytes.clone());
        let mut found = Vec::new();
        let end = loop {
            match decoder.finish() {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(found, payloads(vector));
        let expected = vector["error"].as_str().map(|kind| {
            let offset = number(&vector["offset"]);
            let size = || i32::try_from(vector["size"].as_i64().expect("a number")).expect("fits");
            match kind {
                "cut" => Error::Cut { offset },
                "negative_size" => Error::NegativeSize { offset, size: size() },
                "too_large" => {
                    let payload_bytes_max = PAYLOAD_BYTES_MAX;
                    Error::TooLarge { offset, size: size(), payload_bytes_max }
                }
                other => panic!("no such error: {other}"),
            }
        });
        assert_eq!(end.err(), expected);
        if expected.is_none() {
            let mut again = BytesMut::new();
            found.iter().for_each(|payload| encode(payload, &mut again));
            assert_eq!(again, bytes);
        }
    });
}

#[test]
fn line_delimited_vectors_decode() {
    each("lines", |vector, bytes| {
        let ending: LineEnding =
            vector["ending"].as_str().expect("is text").parse().expect("is an ending");
        let mut decoder = lines::LinesDecoder::new(ending, PAYLOAD_BYTES_MAX);
        decoder.push(bytes);
        let mut found = Vec::new();
        let end = loop {
            match decoder.finish() {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(found, payloads(vector));
        let expected = vector["error"].as_str().map(|_| lines::Error::TooLong {
            line: found.len() as u64 + 1,
            offset: number(&vector["offset"]),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        });
        assert_eq!(end.err(), expected);
    });
}
