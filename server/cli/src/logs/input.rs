//! [`Input`]: splits standard input into records, in constant memory.

use std::io::{self, Read};

use bytes::Bytes;
use styx_protocol::{binary_records, lines};

/// The size of one read from standard input.
const CHUNK_BYTES: usize = 128 << 10;

/// Reads bytes and decodes them into records.
pub(super) struct Input<R> {
    from: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    is_over: bool,
}

/// The decoder for the format of the input.
pub(super) enum Decoder {
    Lines(lines::LinesDecoder),
    Binary(binary_records::BinaryRecordsDecoder),
}

impl<R: Read> Input<R> {
    pub(super) fn new(from: R, decoder: Decoder) -> Input<R> {
        Input { from, decoder, buffer: vec![0; CHUNK_BYTES], is_over: false }
    }

    /// Waits for more bytes and passes each complete record to `take`. Returns `false`
    /// at the end of the input.
    ///
    /// # Errors
    /// The input is malformed, after all records before the malformed part were passed on.
    /// Or an error of `take`.
    pub(super) fn read<E: From<String>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.is_over {
            return Ok(false);
        }
        let read = loop {
            match self.from.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| format!("cannot read standard input: {error}"))?;
        self.is_over = read == 0;
        let chunk = Bytes::copy_from_slice(self.buffer.get(..read).unwrap_or_default());
        let faulty = |fault: String| E::from(format!("in standard input, {fault}"));
        self.decoder.push(chunk);
        loop {
            let next = if self.is_over { self.decoder.finish() } else { self.decoder.next() };
            match next.map_err(faulty)? {
                Some(payload) => take(&payload)?,
                None => return Ok(!self.is_over),
            }
        }
    }
}

impl Decoder {
    fn push(&mut self, chunk: Bytes) {
        match self {
            Decoder::Lines(decoder) => decoder.push(chunk),
            Decoder::Binary(decoder) => decoder.push(chunk),
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Decoder::Lines(decoder) => decoder.next_payload().map_err(|e| e.to_string()),
            Decoder::Binary(decoder) => decoder.next_payload().map_err(|e| e.to_string()),
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Decoder::Lines(decoder) => decoder.finish().map_err(|e| e.to_string()),
            Decoder::Binary(decoder) => decoder.finish().map_err(|e| e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use styx_protocol::LineEnding;

    use super::*;

    /// Returns one byte per read.
    struct OneByteReader<'a>(&'a [u8]);

    impl Read for OneByteReader<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            if let Some(to) = out.first_mut() {
                *to = *first;
            }
            self.0 = rest;
            Ok(1)
        }
    }

    fn check(decoder: Decoder, bytes: &[u8]) -> (Vec<Vec<u8>>, Result<(), String>) {
        let mut input = Input::new(OneByteReader(bytes), decoder);
        let mut records = Vec::new();
        loop {
            let read = input.read(|payload| {
                records.push(payload.to_vec());
                Ok::<_, String>(())
            });
            match read {
                Ok(true) => {}
                Ok(false) => return (records, Ok(())),
                Err(error) => return (records, Err(error)),
            }
        }
    }

    #[test]
    fn input_is_split_and_the_last_line_needs_no_ending() {
        let lines = |ending| Decoder::Lines(lines::LinesDecoder::new(ending, 100));
        let binary = || Decoder::Binary(binary_records::BinaryRecordsDecoder::new(100));
        for (decoder, bytes, expected) in [
            (lines(LineEnding::Lf), &b"one\n\ntwo"[..], &[&b"one"[..], b"", b"two"][..]),
            (lines(LineEnding::CrLf), b"a\r\nb\r\n", &[b"a", b"b"]),
            (lines(LineEnding::Cr), b"a\n\rb", &[b"a\n", b"b"]),
            (binary(), b"\0\0\0\x01a\0\0\0\0", &[b"a", b""]),
            (binary(), b"", &[]),
        ] {
            let (records, result) = check(decoder, bytes);
            assert_eq!(
                (records.as_slice(), result),
                (&expected.iter().map(|r| r.to_vec()).collect::<Vec<_>>()[..], Ok(()))
            );
        }
    }

    #[test]
    fn records_before_a_malformed_part_are_passed_on() {
        let binary = || Decoder::Binary(binary_records::BinaryRecordsDecoder::new(100));
        for (decoder, bytes, fault) in [
            (
                Decoder::Lines(lines::LinesDecoder::new(LineEnding::Lf, 92)),
                [&b"one\n"[..], &[b'x'; 93]].concat(),
                "line 2, at byte 4, is longer",
            ),
            (binary(), b"\0\0\0\x03one\xff\xff\xff\xffx".to_vec(), "byte 7 has a size of -1"),
            (binary(), b"\0\0\0\x03one\0\0".to_vec(), "byte 7 is cut off"),
        ] {
            let (records, result) = check(decoder, &bytes);
            assert_eq!(records, [b"one"]);
            let said = result.expect_err("a fault");
            assert!(said.starts_with("in standard input, ") && said.contains(fault), "{said}");
        }
    }
}
