//! Lines: records that end with a line ending, decoded from chunks as they arrive.
//!
//! ```text
//! chunks     "one\ntw" "o\n\nlas" "t"
//! payloads   one   two   (empty)   last      the last one by finish()
//!            └ shares its chunk's memory; "two" was in two chunks and is copied
//! ```
//!
//! The decoder keeps at most one incomplete line, so its memory is bounded by the longest
//! allowed line and one chunk.

use bytes::{Bytes, BytesMut};

use crate::line_ending::LineEnding;

/// Decodes lines from chunks of bytes that are split anywhere.
///
/// [`push`](Self::push) a chunk, call [`next_payload`](Self::next_payload) until it returns
/// `None`, and repeat. After the last chunk, call [`finish`](Self::finish).
#[derive(Debug)]
pub struct LinesDecoder {
    ending: LineEnding,
    payload_bytes_max: usize,
    /// The part of the incomplete line from earlier chunks.
    begun: BytesMut,
    chunk: Bytes,
    /// Bytes of the incomplete line that [`take_part`](Self::take_part) has returned.
    taken_bytes: usize,
    /// The offset of the incomplete line from the first pushed byte.
    line_offset: u64,
    /// The number of the incomplete line, counted from 1.
    line: u64,
}

/// Why a line is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The line is longer than a record of this log may be.
    #[error("line {line}, at byte {offset}, is longer than the {payload_bytes_max} bytes allowed")]
    TooLong {
        /// The number of the line, counted from 1.
        line: u64,
        /// The offset of the line.
        offset: u64,
        /// The limit, without the line ending.
        payload_bytes_max: usize,
    },
}

impl LinesDecoder {
    /// A decoder at byte 0 of line 1. Lines that are longer than `payload_bytes_max`, without their
    /// ending, are rejected.
    #[must_use]
    pub fn new(ending: LineEnding, payload_bytes_max: usize) -> LinesDecoder {
        LinesDecoder {
            ending,
            payload_bytes_max,
            begun: BytesMut::new(),
            chunk: Bytes::new(),
            taken_bytes: 0,
            line_offset: 0,
            line: 1,
        }
    }

    /// Adds the next chunk. If lines of the previous chunk are left, both are joined, which
    /// copies them.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [self.chunk.as_ref(), chunk.as_ref()].concat().into();
        }
    }

    /// The next complete line without its ending; `None` until more is pushed.
    ///
    /// # Errors
    /// [`Error::TooLong`]. Every further call returns the same error.
    pub fn next_payload(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(line_end) = self.find_end() else {
            // A `\r` at the end may be the first half of an ending.
            let open = self.taken_bytes + self.begun.len() + self.chunk.len();
            let half = usize::from(self.ending == LineEnding::CrLf && self.last_byte() == b'\r');
            self.check(open - half)?;
            self.begun.extend_from_slice(&self.chunk);
            self.chunk.clear();
            return Ok(None);
        };
        let with_ending = self.begun.len() + line_end;
        let length = with_ending - self.ending.bytes().len();
        self.check(self.taken_bytes + length)?;
        let head = self.chunk.split_to(line_end);
        let mut line = if self.begun.is_empty() {
            head
        } else {
            self.begun.extend_from_slice(&head);
            self.begun.split().freeze()
        };
        line.truncate(length);
        self.line_offset += (std::mem::take(&mut self.taken_bytes) + with_ending) as u64;
        self.line += 1;
        Ok(Some(line))
    }

    /// Takes the part of the incomplete line that has arrived, if it has at least `bytes_min`
    /// bytes. [`next_payload`](Self::next_payload) then returns the rest of the line, so that a
    /// large one needs no large buffer. Call it after `next_payload` has returned `None`.
    pub fn take_part(&mut self, bytes_min: usize) -> Option<Bytes> {
        // The last byte may be the first half of an ending.
        let part_bytes = self.begun.len().checked_sub(1)?;
        if part_bytes < bytes_min.max(1) {
            return None;
        }
        let last = self.begun.split_off(part_bytes);
        let part = std::mem::replace(&mut self.begun, BytesMut::from(&*last));
        self.taken_bytes += part_bytes;
        Some(part.freeze())
    }

    /// Call this after the last chunk and the last complete line. Bytes that are left are a
    /// line without an ending, which is a record too.
    ///
    /// # Errors
    /// As [`next_payload`](Self::next_payload).
    pub fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(line) = self.next_payload()? {
            return Ok(Some(line));
        }
        self.check(self.taken_bytes + self.begun.len())?;
        let line = self.begun.split().freeze();
        self.line_offset += (std::mem::take(&mut self.taken_bytes) + line.len()) as u64;
        self.line += u64::from(!line.is_empty());
        // After a part, at least its last byte is left.
        Ok((!line.is_empty()).then_some(line))
    }

    /// The offset of the next line from the first pushed byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.line_offset
    }

    /// The number of the next line, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The offset in `chunk` after the first line ending that ends in it.
    fn find_end(&self) -> Option<usize> {
        match self.ending {
            LineEnding::Lf => memchr::memchr(b'\n', &self.chunk).map(|at| at + 1),
            LineEnding::Cr => memchr::memchr(b'\r', &self.chunk).map(|at| at + 1),
            LineEnding::CrLf => memchr::memchr_iter(b'\n', &self.chunk)
                .find(|at| match at.checked_sub(1) {
                    Some(before) => self.chunk.get(before) == Some(&b'\r'),
                    None => self.begun.last() == Some(&b'\r'),
                })
                .map(|at| at + 1),
        }
    }

    fn last_byte(&self) -> u8 {
        self.chunk.last().or(self.begun.last()).copied().unwrap_or_default()
    }

    fn check(&self, length: usize) -> Result<(), Error> {
        if length <= self.payload_bytes_max {
            return Ok(());
        }
        let (line, offset) = (self.line, self.line_offset);
        Err(Error::TooLong { line, offset, payload_bytes_max: self.payload_bytes_max })
    }
}

/// Appends one record and its line ending to `out`. A record that contains the ending is
/// decoded as two records.
pub fn encode(payload: &[u8], ending: LineEnding, out: &mut BytesMut) {
    out.reserve(payload.len() + ending.bytes().len());
    out.extend_from_slice(payload);
    out.extend_from_slice(ending.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_inside_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"one\ntwo\n");
        let mut decoder = LinesDecoder::new(LineEnding::Lf, 3);
        decoder.push(chunk.clone());
        let one = decoder.next_payload().expect("fits").expect("is whole");
        assert_eq!(one.as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn long_line_is_rejected_before_it_is_complete() {
        let mut decoder = LinesDecoder::new(LineEnding::CrLf, 3);
        decoder.push(Bytes::from_static(b"abc\r\nabc\r"));
        assert_eq!(decoder.next_payload(), Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(decoder.next_payload(), Ok(None), "the \\r may be half of an ending");
        decoder.push(Bytes::from_static(b"x"));
        let refused = Err(Error::TooLong { line: 2, offset: 5, payload_bytes_max: 3 });
        assert_eq!(decoder.next_payload(), refused);
        assert_eq!(decoder.finish(), refused);
    }

    #[test]
    fn line_taken_in_parts_is_the_same_as_in_one() {
        let long = "0123456789\r".repeat(90);
        for ending in [LineEnding::Lf, LineEnding::CrLf] {
            let mut bytes = BytesMut::new();
            for line in [&long, "", "after"] {
                encode(line.as_bytes(), ending, &mut bytes);
            }
            bytes.extend_from_slice(long.as_bytes());
            let whole = bytes.freeze();
            for (chunk_bytes, part_bytes) in [(1, 0), (1, 1), (7, 100), (300, 300), (991, 1)] {
                let mut decoder = LinesDecoder::new(ending, long.len());
                let (mut lines, mut parts) = (Vec::new(), BytesMut::new());
                for chunk in whole.chunks(chunk_bytes) {
                    decoder.push(Bytes::copy_from_slice(chunk));
                    while let Some(rest) = decoder.next_payload().expect("valid") {
                        parts.extend_from_slice(&rest);
                        lines.push(parts.split());
                    }
                    if let Some(part) = decoder.take_part(part_bytes) {
                        assert!(part.len() >= part_bytes);
                        parts.extend_from_slice(&part);
                    }
                }
                parts.extend_from_slice(&decoder.finish().expect("valid").expect("a last line"));
                lines.push(parts.split());
                let expected = [long.as_bytes(), b"", b"after", long.as_bytes()];
                assert_eq!(lines, expected, "{ending:?} {chunk_bytes} {part_bytes}");
                assert_eq!((decoder.offset(), decoder.line()), (whole.len() as u64, 5));
            }
        }
    }

    #[test]
    fn long_line_is_rejected_although_parts_of_it_were_taken() {
        let mut decoder = LinesDecoder::new(LineEnding::Lf, 4);
        decoder.push(Bytes::from_static(b"abcd"));
        assert_eq!(decoder.next_payload(), Ok(None));
        assert_eq!(decoder.take_part(1), Some(Bytes::from_static(b"abc")));
        decoder.push(Bytes::from_static(b"e\n"));
        let refused = Err(Error::TooLong { line: 1, offset: 0, payload_bytes_max: 4 });
        assert_eq!(decoder.next_payload(), refused);
    }

    #[test]
    fn partial_line_ending_at_the_end_is_content() {
        let mut decoder = LinesDecoder::new(LineEnding::CrLf, 3);
        decoder.push(Bytes::from_static(b"abc\r"));
        let refused = Err(Error::TooLong { line: 1, offset: 0, payload_bytes_max: 3 });
        assert_eq!(decoder.finish(), refused);
    }
}
