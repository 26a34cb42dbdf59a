//! Converts a session's error to the error frame of styx/1.

use std::time::Duration;

use styx_protocol::frame::{self, Damage, Ends, Fault, Outcome};
use styx_protocol::{Code, Position};

use crate::session::{Error, ErrorField};

/// The error frame, with the fields of the error's code.
pub(super) fn of(error: &Error) -> Fault {
    let number = |name| {
        error.fields.iter().find_map(|(field, value)| match value {
            ErrorField::Number(value) if *field == name => Some(*value),
            _ => None,
        })
    };
    let position = |name| number(name).map(Position);
    let fault = Fault::new(error.code, &error.message);
    let retry_after_ms = error.retry_after.unwrap_or(0).saturating_mul(1000);
    let fault = fault.with_retry_after_ms(retry_after_ms);
    match error.code {
        Code::OutOfRange => match (position("start_position"), position("end_position")) {
            (Some(start), Some(end)) => fault.with_ends(Ends { start, end }),
            _ => fault,
        },
        Code::CorruptRecord => match position("position") {
            Some(at) => fault.with_damage(Damage { position: at, next_intact: error.next_intact }),
            None => fault,
        },
        Code::SequenceGap => match number("expected_sequence") {
            Some(expected) => fault.with_expected_sequence(expected),
            None => fault,
        },
        Code::PositionMismatch => match position("end_position") {
            Some(end) => fault.with_end_position(end),
            None => fault,
        },
        _ => fault,
    }
}

/// The peer was silent for its whole timeout.
pub(super) fn silence(time: Duration) -> Fault {
    let seconds = time.as_secs();
    let message =
        format!("nothing arrived for {seconds} s; send a heartbeat at half of X-Styx-Timeout");
    Fault { outcome: Outcome::NotAppended, ..Fault::new(Code::UnknownError, message) }
}

/// The peer sent a malformed or forbidden frame.
pub(super) fn malformed(error: &frame::Error) -> Fault {
    let code = match error {
        frame::Error::Block(error) => error.code(),
        _ => Code::MalformedRecords,
    };
    of(&Error::new(code, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_frame_has_the_fields_of_its_error() {
        let error = |code| Error::new(code, "why");
        let ends = error(Code::OutOfRange).with("start_position", 3).with("end_position", 9);
        let found = of(&ends).ends();
        assert_eq!(found, Some(Ends { start: Position(3), end: Position(9) }));
        let next_intact = Some(Position(7));
        let damaged = error(Code::CorruptRecord).with("position", 4);
        let damage = of(&Error { next_intact, ..damaged });
        assert_eq!(damage.damage(), Some(Damage { position: Position(4), next_intact }));
        let gap = of(&error(Code::SequenceGap).with("expected_sequence", 5));
        assert_eq!(gap.expected_sequence(), Some(5));
        let mismatch = of(&error(Code::PositionMismatch).with("end_position", 6));
        assert_eq!(mismatch.end_position(), Some(Position(6)));
        assert_eq!(of(&error(Code::Overloaded)).retry_after_ms, 1000);
    }

    #[test]
    fn only_outcome_unknown_has_unknown_outcome() {
        let outcome = |code| of(&Error::new(code, "why")).outcome;
        assert_eq!(outcome(Code::OutcomeUnknown), Outcome::Unknown);
        assert_eq!(outcome(Code::SequenceGap), Outcome::NotAppended);
        assert_eq!(silence(Duration::from_secs(30)).outcome, Outcome::NotAppended);
    }
}
