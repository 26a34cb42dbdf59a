//! [`Fault`]: the error frame, which ends a server's stream.

use bytes::{Buf, BufMut, BytesMut};

use super::{Ends, Error, FrameHeader, Kind};
use crate::limits::FAULT_MESSAGE_BYTES_MAX;
use crate::{Code, Position};

const HEAD_BYTES: usize = 24;

/// The outcome of the records that were sent and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// None of them is in the log or will be.
    NotAppended,
    /// They may be in the log, now or after a restart.
    Unknown,
}

/// Where a log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Damage {
    /// The first damaged position.
    pub position: Position,
    /// The first intact position after the damage, if it is known.
    pub next_intact: Option<Position>,
}

/// An error frame. The meaning of `a` and `b` depends on the code; there is a method for
/// each meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The code in the error table.
    pub code: Code,
    /// The outcome of the unacknowledged records.
    pub outcome: Outcome,
    /// Milliseconds after which to retry; 0 if the server does not know.
    pub retry_after_ms: u32,
    /// The first value; see the methods.
    pub a: u64,
    /// The second value.
    pub b: u64,
    /// For people: what happened and what to do.
    pub message: String,
}

pub(super) fn takes(size: u64) -> bool {
    let max = HEAD_BYTES + FAULT_MESSAGE_BYTES_MAX;
    (HEAD_BYTES as u64..=max as u64).contains(&size)
}

impl Fault {
    /// A fault without values. The outcome is [`Outcome::Unknown`] if the error table says
    /// that records may have been appended.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        let unknown = code.maybe_appended();
        let outcome = if unknown { Outcome::Unknown } else { Outcome::NotAppended };
        Fault { code, outcome, retry_after_ms: 0, a: 0, b: 0, message: message.into() }
    }

    /// Sets the values of [`Code::OutOfRange`].
    #[must_use]
    pub fn with_ends(self, Ends { start, end }: Ends) -> Fault {
        Fault { a: start.0, b: end.0, ..self }
    }

    /// Sets the values of [`Code::CorruptRecord`].
    #[must_use]
    pub fn with_damage(self, damage: Damage) -> Fault {
        let b = damage.next_intact.unwrap_or_default().0;
        Fault { a: damage.position.0, b, ..self }
    }

    /// Sets the value of [`Code::SequenceGap`].
    #[must_use]
    pub fn with_expected_sequence(self, sequence: u64) -> Fault {
        Fault { a: sequence, ..self }
    }

    /// Sets the value of [`Code::PositionMismatch`].
    #[must_use]
    pub fn with_end_position(self, end: Position) -> Fault {
        Fault { a: end.0, ..self }
    }

    /// Sets the time, in milliseconds, after which to retry.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u32) -> Fault {
        Fault { retry_after_ms, ..self }
    }

    /// For [`Code::OutOfRange`]: the range of positions that the log has.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        self.facts_of(Code::OutOfRange).map(|(a, b)| Ends { start: Position(a), end: Position(b) })
    }

    /// For [`Code::CorruptRecord`]: the damaged positions.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.facts_of(Code::CorruptRecord).map(|(a, b)| Damage {
            position: Position(a),
            // The intact position is always after the damage, so 0 means unknown.
            next_intact: (b > a).then_some(Position(b)),
        })
    }

    /// For [`Code::SequenceGap`]: the sequence that the log expects next.
    #[must_use]
    pub fn expected_sequence(&self) -> Option<u64> {
        self.facts_of(Code::SequenceGap).map(|(a, _)| a)
    }

    /// For [`Code::PositionMismatch`]: where the log ends.
    #[must_use]
    pub fn end_position(&self) -> Option<Position> {
        self.facts_of(Code::PositionMismatch).map(|(a, _)| Position(a))
    }

    fn facts_of(&self, code: Code) -> Option<(u64, u64)> {
        (self.code == code).then_some((self.a, self.b))
    }

    /// Appends the frame. A message is truncated to [`FAULT_MESSAGE_BYTES_MAX`] bytes.
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
    fn long_message_is_truncated_between_characters() {
        let fault = Fault::new(Code::Overloaded, "\u{20ac}".repeat(FAULT_MESSAGE_BYTES_MAX));
        let mut out = BytesMut::new();
        fault.encode(&mut out);
        let sent = Fault::decode(&out[8..]).expect("is good");
        assert_eq!(sent.message.len(), FAULT_MESSAGE_BYTES_MAX / 3 * 3);
        assert!(fault.message.starts_with(&sent.message));
    }
}
