//! `Content-Encoding` of a request: identity, gzip or zstd, in bounded memory.
//!
//! ```text
//! push(compressed chunk) → next() returns about 64 KiB at a time until the chunk is
//! used up → finish() returns the rest
//! ```
//!
//! When a chunk is used up, everything that the compressor flushed before its end was
//! returned.
//!
//! A decompression bomb is decompressed one piece at a time, so the limit on a record
//! or block rejects it early.

use std::fmt;
use std::io::Write;

use bytes::{Buf, Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use styx_protocol::Code;
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation, OutBuffer};

use crate::header;
use crate::session::Error;

const PIECE_BYTES: usize = 64 << 10;
/// Compressed bytes that gzip gets at a time.
const GZIP_STEP_BYTES: usize = 4 << 10;
/// Largest window of a zstd frame, as a power of two: 8 MiB, the limit of every
/// level below `--ultra`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Decodes a request's `Content-Encoding`.
#[derive(Debug)]
pub(super) struct ContentDecoder {
    input: Bytes,
    coding: Coding,
}

enum Coding {
    Identity,
    Gzip { decoder: Box<MultiGzDecoder<Vec<u8>>>, begun: bool, is_drained: bool },
    Zstd { decoder: Box<Zstd<'static>>, out: BytesMut, frame_is_open: bool, out_was_full: bool },
}

impl ContentDecoder {
    /// The decoder for the request's headers.
    ///
    /// # Errors
    /// The coding is unknown, or there are several.
    pub(super) fn for_request(headers: &HeaderMap) -> Result<ContentDecoder, Error> {
        const ACCEPTED: &str = "one of gzip and zstd";
        if headers.get_all(CONTENT_ENCODING).iter().nth(1).is_some() {
            return Err(Error::invalid("Content-Encoding", "several headers", ACCEPTED));
        }
        let text = header::checked_text(headers, &CONTENT_ENCODING, "Content-Encoding", ACCEPTED)?;
        let coding = match text {
            None => Coding::Identity,
            Some(text) if text.eq_ignore_ascii_case("identity") => Coding::Identity,
            Some(text) if ["gzip", "x-gzip"].iter().any(|g| text.eq_ignore_ascii_case(g)) => {
                let decoder = Box::new(MultiGzDecoder::new(Vec::new()));
                Coding::Gzip { decoder, begun: false, is_drained: true }
            }
            Some(text) if text.eq_ignore_ascii_case("zstd") => Coding::zstd().map_err(broken)?,
            Some(text) => return Err(Error::invalid("Content-Encoding", text, ACCEPTED)),
        };
        Ok(ContentDecoder { input: Bytes::new(), coding })
    }

    pub(super) fn is_identity(&self) -> bool {
        matches!(self.coding, Coding::Identity)
    }

    /// Passes in the next chunk; call it when [`next`](Self::next) has no more.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.input = chunk;
    }

    /// The next decompressed bytes; `None` when more input is needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let has_more = matches!(
                self.coding,
                Coding::Gzip { is_drained: false, .. } | Coding::Zstd { out_was_full: true, .. }
            );
            if self.input.is_empty() && !has_more {
                return Ok(None);
            }
            let bytes = match &mut self.coding {
                Coding::Identity => std::mem::take(&mut self.input),
                Coding::Gzip { decoder, is_drained, .. } if self.input.is_empty() => {
                    decoder.flush().map_err(broken)?;
                    *is_drained = true;
                    Bytes::from(std::mem::take(decoder.get_mut()))
                }
                Coding::Gzip { decoder, begun, is_drained } => {
                    (*begun, *is_drained) = (true, false);
                    let step = self.input.len().min(GZIP_STEP_BYTES);
                    let piece = self.input.get(..step).unwrap_or_default();
                    let used = decoder.write(piece).map_err(broken)?;
                    self.input.advance(used);
                    Bytes::from(std::mem::take(decoder.get_mut()))
                }
                Coding::Zstd { decoder, out, frame_is_open, out_was_full } => {
                    out.resize(PIECE_BYTES, 0);
                    let mut from = InBuffer::around(&self.input);
                    let mut to = OutBuffer::around(&mut out[..]);
                    let hint = decoder.run(&mut from, &mut to).map_err(broken)?;
                    let (used, made) = (from.pos(), to.pos());
                    self.input.advance(used);
                    *frame_is_open = hint != 0;
                    *out_was_full = made == PIECE_BYTES;
                    out.split_to(made).freeze()
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Call it after the last chunk, until it returns `None`: returns the last bytes.
    ///
    /// # Errors
    /// The compressed bytes are incomplete.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.coding {
            // The decoder still holds at most one window.
            Coding::Gzip { decoder, begun: true, .. } => {
                decoder.try_finish().map_err(broken)?;
                let rest = std::mem::take(decoder.get_mut());
                Ok(Some(Bytes::from(rest)).filter(|rest| !rest.is_empty()))
            }
            Coding::Zstd { frame_is_open: true, .. } => Err(broken("it is incomplete")),
            _ => Ok(None),
        }
    }
}

impl Coding {
    fn zstd() -> std::io::Result<Coding> {
        let mut decoder = Zstd::new()?;
        decoder.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Coding::Zstd {
            decoder: Box::new(decoder),
            out: BytesMut::new(),
            frame_is_open: false,
            out_was_full: false,
        })
    }
}

fn broken(why: impl fmt::Display) -> Error {
    let message = format!("cannot decompress the body with its Content-Encoding: {why}");
    Error::new(Code::MalformedRecords, message)
}

impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coding::Identity => "Identity",
            Coding::Gzip { .. } => "Gzip",
            Coding::Zstd { .. } => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(coding: &'static str, compressed: &[u8], chunk: usize) -> Result<Vec<u8>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(coding));
        let mut decoder = ContentDecoder::for_request(&headers)?;
        let mut out = Vec::new();
        for part in compressed.chunks(chunk) {
            decoder.push(Bytes::copy_from_slice(part));
            while let Some(bytes) = decoder.next()? {
                let small = bytes.len() <= PIECE_BYTES.max(part.len());
                assert!(small, "pieces are small: {}", bytes.len());
                out.extend_from_slice(&bytes);
            }
        }
        while let Some(bytes) = decoder.finish()? {
            out.extend_from_slice(&bytes);
        }
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).expect("write");
        out.finish().expect("finish")
    }

    fn samples() -> [Vec<u8>; 3] {
        let noise = (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes());
        [Vec::new(), vec![b'a'; 5_000_000], noise.collect()]
    }

    #[test]
    fn compressed_bytes_are_decompressed_in_small_pieces() {
        for sample in samples() {
            for chunk in [1000, 1 << 20] {
                let zstd = zstd::encode_all(&sample[..], 3).expect("encode");
                assert!(decode("zstd", &zstd, chunk).expect("zstd") == sample);
                assert!(decode("GZIP", &gzip(&sample), chunk).expect("gzip") == sample);
                assert!(decode("identity", &sample, chunk).expect("identity") == sample);
            }
        }
    }

    #[test]
    fn flushed_bytes_are_returned_without_waiting_for_more_input() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut zstd = zstd::stream::Encoder::new(Vec::new(), 3).expect("an encoder");
        let mut decoders = ["gzip", "zstd"].map(|coding| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(coding));
            ContentDecoder::for_request(&headers).expect("a known coding")
        });
        for line in ["one\n", "two\n", "a longer line than those before it\n"] {
            gzip.write_all(line.as_bytes()).and_then(|()| gzip.flush()).expect("written");
            zstd.write_all(line.as_bytes()).and_then(|()| zstd.flush()).expect("written");
            let flushed = [std::mem::take(gzip.get_mut()), std::mem::take(zstd.get_mut())];
            for (decoder, flushed) in decoders.iter_mut().zip(flushed) {
                decoder.push(flushed.into());
                let mut out = Vec::new();
                while let Some(bytes) = decoder.next().expect("is valid") {
                    out.extend_from_slice(&bytes);
                }
                assert_eq!(out, line.as_bytes(), "{decoder:?}");
            }
        }
    }

    #[test]
    fn concatenated_members_are_one_body() {
        let both = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(decode("gzip", &both, 5).expect("gzip"), b"onetwo");
        let frames: Vec<_> =
            [b"one", b"two"].iter().map(|b| zstd::encode_all(&b[..], 1).expect("zstd")).collect();
        assert_eq!(decode("zstd", &frames.concat(), 5).expect("zstd"), b"onetwo");
    }

    #[test]
    fn incomplete_or_invalid_bytes_are_an_error() {
        let whole = vec![7; 10_000];
        let zstd = zstd::encode_all(&whole[..], 3).expect("encode");
        for (coding, bytes) in [("gzip", gzip(&whole)), ("zstd", zstd)] {
            for cut in 1..bytes.len() {
                let error = decode(coding, &bytes[..cut], 7).expect_err("cut");
                assert_eq!(error.code, Code::MalformedRecords, "{coding} {cut}");
            }
            assert!(decode(coding, b"not compressed at all", 7).is_err(), "{coding}");
        }
        assert!(decode("br", b"x", 1).is_err());
        assert!(decode("gzip, zstd", b"x", 1).is_err());
    }
}
