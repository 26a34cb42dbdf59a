//! [`Input`]: standard input as records, in constant memory.

use std::io::{self, Read};

use bytes::Bytes;
use styx_protocol::{binary_records, lines};

/// Bytes read from standard input at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// See the module.
pub(super) struct Input<R> {
    from: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    is_over: bool,
}

/// The form in which records come.
pub(super) enum Decoder {
    Lines(lines::LinesDecoder),
    Binary(binary_records::BinaryRecordsDecoder),
}

impl<R: Read> Input<R> {
    pub(super) fn new(from: R, decoder: Decoder) -> Input<R> {
        Input { from, decoder, buffer: vec![0; CHUNK_BYTES], is_over: false }
    }

    /// Waits for more bytes and decodes the records that are whole then, each
    /// handed to `take`; `false` when the input has ended.
    ///
    /// # Errors
    /// A fault in the input, after all records before it, or what `take` says.
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

    /// Gives one byte at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
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
        let mut input = Input::new(Dripping(bytes), decoder);
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
    fn records_are_cut_as_asked_and_the_last_needs_no_ending() {
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
    fn a_fault_comes_after_what_was_good() {
        let binary = || Decoder::Binary(binary_records::BinaryRecordsDecoder::new(100));
        for (decoder, bytes, fault) in [
            (
                Decoder::Lines(lines::LinesDecoder::new(LineEnding::Lf, 92)),
                [&b"one\n"[..], &[b'x'; 93]].concat(),
                "the line at byte 4 is longer",
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
