//! [`KnownLog`]: what a caller knows about a log, checked before a request uses the
//! log.
//!
//! A position has a meaning only together with a log's id. The check fails if the
//! log was truncated or lost its end since the caller last saw it.

use styx_protocol::{Code, LogId, Position};

use super::Error;

/// What a request says that it knows; empty by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KnownLog {
    /// The log's id.
    pub(crate) id: Option<LogId>,
    /// A position up to which records are known to be durable.
    pub(crate) end: Option<Position>,
}

impl KnownLog {
    /// Compares it with the log's id and end.
    pub(super) fn check(&self, id: LogId, end: Position) -> Result<(), Error> {
        if let Some(known) = self.id.filter(|known| *known != id) {
            let message = format!(
                "the log was recreated, restored or truncated: its id is now {id}, not {known}; \
                 start again from its first position"
            );
            return Err(Error::new(Code::LogChanged, message));
        }
        if let Some(known) = self.end.filter(|known| *known > end) {
            let message = format!(
                "the log ends at {end}, before the position {known} that the request knows; \
                 it was truncated or has lost records"
            );
            return Err(Error::new(Code::LogEndRegressed, message).with("end_position", end.0));
        }
        Ok(())
    }

    /// Whether the request says nothing about the log.
    pub(crate) fn is_empty(&self) -> bool {
        *self == KnownLog::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_id_and_lost_end_have_different_codes() {
        let (id, other, end) = (LogId(1), LogId(2), Position(10));
        let check = |known: KnownLog| known.check(id, end).map_err(|e| e.code);
        assert_eq!(check(KnownLog::default()), Ok(()));
        assert_eq!(check(KnownLog { id: Some(id), end: Some(end) }), Ok(()));
        assert_eq!(check(KnownLog { id: Some(other), end: None }), Err(Code::LogChanged));
        let regressed = KnownLog { id: Some(id), end: Some(Position(11)) };
        assert_eq!(check(regressed), Err(Code::LogEndRegressed));
    }
}
