//! [`Fault`]: the last thing a server says when it cannot go on.

use bytes::{Buf, BufMut, BytesMut};

use super::{Ends, Error, FrameHeader, Kind};
use crate::limits::FAULT_MESSAGE_BYTES_MAX;
use crate::{Code, Position};

const HEAD_BYTES: usize = 24;

/// What became of the records that were sent and not acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// None of them is in the log, and none will be.
    NotAppended,
    /// They may be there, now or after a restart.
    Unknown,
}

/// Where a log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Damage {
    /// The first damaged position.
    pub position: Position,
    /// The first one behind the damage that can be read, if it is known.
    pub next_intact: Option<Position>,
}

/// An error frame. What `a` and `b` say depends on the code, and each meaning
/// has a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The row of the error table.
    pub code: Code,
    /// What became of all that was not acked.
    pub outcome: Outcome,
    /// Milliseconds after which it is worth trying again; 0 when the server
    /// does not know.
    pub retry_after_ms: u32,
    /// The first fact; see the methods.
    pub a: u64,
    /// The second fact.
    pub b: u64,
    /// For people: what happened and what to do.
    pub message: String,
}

pub(super) fn takes(size: u64) -> bool {
    let max = HEAD_BYTES + FAULT_MESSAGE_BYTES_MAX;
    (HEAD_BYTES as u64..=max as u64).contains(&size)
}

impl Fault {
    /// A fault without facts. The outcome is [`Outcome::Unknown`] where the
    /// code says that records may have been appended.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        let unknown = code.maybe_appended();
        let outcome = if unknown { Outcome::Unknown } else { Outcome::NotAppended };
        Fault { code, outcome, retry_after_ms: 0, a: 0, b: 0, message: message.into() }
    }

    /// The same with the facts of [`Code::OutOfRange`].
    #[must_use]
    pub fn with_ends(self, Ends { start, end }: Ends) -> Fault {
        Fault { a: start.0, b: end.0, ..self }
    }

    /// The same with the facts of [`Code::CorruptRecord`].
    #[must_use]
    pub fn with_damage(self, damage: Damage) -> Fault {
        let b = damage.next_intact.unwrap_or_default().0;
        Fault { a: damage.position.0, b, ..self }
    }

    /// The same with the fact of [`Code::SequenceGap`].
    #[must_use]
    pub fn with_expected_sequence(self, sequence: u64) -> Fault {
        Fault { a: sequence, ..self }
    }

    /// The same with the fact of [`Code::PositionMismatch`].
    #[must_use]
    pub fn with_end_position(self, end: Position) -> Fault {
        Fault { a: end.0, ..self }
    }

    /// The same with a time, in milliseconds, after which to try again.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u32) -> Fault {
        Fault { retry_after_ms, ..self }
    }

    /// Of [`Code::OutOfRange`]: what the log holds.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        self.facts_of(Code::OutOfRange).map(|(a, b)| Ends { start: Position(a), end: Position(b) })
    }

    /// Of [`Code::CorruptRecord`]: where.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.facts_of(Code::CorruptRecord).map(|(a, b)| Damage {
            position: Position(a),
            // What is intact lies behind what is not: 0 stands for unknown.
            next_intact: (b > a).then_some(Position(b)),
        })
    }

    /// Of [`Code::SequenceGap`]: the sequence that the log expects next.
    #[must_use]
    pub fn expected_sequence(&self) -> Option<u64> {
        self.facts_of(Code::SequenceGap).map(|(a, _)| a)
    }

    /// Of [`Code::PositionMismatch`]: where the log ends.
    #[must_use]
    pub fn end_position(&self) -> Option<Position> {
        self.facts_of(Code::PositionMismatch).map(|(a, _)| Position(a))
    }

    fn facts_of(&self, code: Code) -> Option<(u64, u64)> {
        (self.code == code).then_some((self.a, self.b))
    }

    /// Appends the frame. Of the message at most
    /// [`FAULT_MESSAGE_BYTES_MAX`] bytes are sent.
    pub fn encode(&self, out: &mut BytesMut) {
        let end = self.message.floor_char_boundary(FAULT_MESSAGE_BYTES_MAX);
        let message = self.message.get(..end).unwrap_or_default();
        FrameHeader::put(Kind::Error, 0, HEAD_BYTES + message.len(), out);
        out.put_u16(self.code.stream_code());
        out.put_u8(match self.outcome {
            Outcome::NotAppended => 0,
            Outcome::Unknown => 1,
        });
        out.put_u8(0);
        out.put_u32(self.retry_after_ms);
        out.put_u64(self.a);
        out.put_u64(self.b);
        out.put_slice(message.as_bytes());
    }

    /// Reads a body whose size was checked.
    pub(super) fn decode(mut body: &[u8]) -> Result<Fault, Error> {
        let wrong = |field, value| Error::Field { kind: Kind::Error, field, value };
        if body.len() < HEAD_BYTES {
            return Err(Error::Cut);
        }
        let code = body.get_u16();
        let code = Code::from_stream_code(code).ok_or(wrong("code", code.into()))?;
        let outcome = match body.get_u8() {
            0 => Outcome::NotAppended,
            1 => Outcome::Unknown,
            other => return Err(wrong("outcome", other.into())),
        };
        match body.get_u8() {
            0 => {}
            other => return Err(Error::Reserved(other.into())),
        }
        let retry_after_ms = body.get_u32();
        let (a, b) = (body.get_u64(), body.get_u64());
        let message = std::str::from_utf8(body).map_err(|_| Error::Text)?.to_owned();
        Ok(Fault { code, outcome, retry_after_ms, a, b, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_belong_to_their_code() {
        let fault = |code| Fault::new(code, "");
        let ends = Ends { start: Position(3), end: Position(9) };
        let out_of_range = fault(Code::OutOfRange).with_ends(ends);
        assert_eq!(out_of_range.ends(), Some(ends));
        assert_eq!(out_of_range.damage(), None);
        for next_intact in [None, Some(Position(8))] {
            let damage = Damage { position: Position(7), next_intact };
            assert_eq!(fault(Code::CorruptRecord).with_damage(damage).damage(), Some(damage));
        }
        let backwards = Fault { a: 7, b: 7, ..fault(Code::CorruptRecord) };
        assert_eq!(backwards.damage().map(|damage| damage.next_intact), Some(None));
        let gap = fault(Code::SequenceGap).with_expected_sequence(5);
        assert_eq!((gap.expected_sequence(), gap.end_position()), (Some(5), None));
        let mismatch = fault(Code::PositionMismatch).with_end_position(Position(4));
        assert_eq!((mismatch.end_position(), mismatch.ends()), (Some(Position(4)), None));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let fault = Fault::new(Code::Overloaded, "\u{20ac}".repeat(FAULT_MESSAGE_BYTES_MAX));
        let mut out = BytesMut::new();
        fault.encode(&mut out);
        let sent = Fault::decode(&out[8..]).expect("is good");
        assert_eq!(sent.message.len(), FAULT_MESSAGE_BYTES_MAX / 3 * 3);
        assert!(fault.message.starts_with(&sent.message));
    }
}
