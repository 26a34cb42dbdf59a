//! [`KnownLog`]: what a caller believes about a log, checked before anything is
//! done to it.
//!
//! Positions mean something only together with a log's id. A log that was
//! truncated or lost its end must not be taken for the one the caller knew.

use styx_protocol::{Code, LogId, Position};

use super::Error;

/// What a request says it knows; empty by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KnownLog {
    /// The log's id.
    pub(crate) id: Option<LogId>,
    /// A position up to which records are known to be durable.
    pub(crate) end: Option<Position>,
}

impl KnownLog {
    /// Compares it with the log.
    pub(super) fn check(&self, id: LogId, end: Position) -> Result<(), Error> {
        if let Some(known) = self.id.filter(|known| *known != id) {
            let message = format!(
                "the log was recreated, restored or truncated: it is {id} now, not {known}; \
                 start again from its first position"
            );
            return Err(Error::new(Code::LogChanged, message));
        }
        if let Some(known) = self.end.filter(|known| *known > end) {
            let message = format!("the log ends at {end}, before the position {known} you know of");
            return Err(Error::new(Code::LogEndRegressed, message).with("end_position", end.0));
        }
        Ok(())
    }

    /// Whether the request knows nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == KnownLog::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_log_and_a_lost_end_are_told_apart() {
        let (id, other, end) = (LogId(1), LogId(2), Position(10));
        let check = |known: KnownLog| known.check(id, end).map_err(|e| e.code);
        assert_eq!(check(KnownLog::default()), Ok(()));
        assert_eq!(check(KnownLog { id: Some(id), end: Some(end) }), Ok(()));
        assert_eq!(check(KnownLog { id: Some(other), end: None }), Err(Code::LogChanged));
        let regressed = KnownLog { id: Some(id), end: Some(Position(11)) };
        assert_eq!(check(regressed), Err(Code::LogEndRegressed));
    }
}
