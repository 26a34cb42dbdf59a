//! [`KnownLog`]: what a caller knows about a log, checked before a request uses the
//! log.
//!
//! A position has a meaning only together with a log's id. The check fails if the
//! log was truncated or lost its end since the caller last saw it. A log that was restored from an
//! archive also accepts the id of a log that it was restored from, if the caller's position is not
//! after the fork: up to there, both logs are the same.

use styx_engine::archive::Lineage;
use styx_protocol::{Checkpoint, Code, LogId, Position};

use super::Error;

/// What a request says that it knows; empty by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KnownLog {
    /// The log's id.
    pub(crate) id: Option<LogId>,
    /// A position up to which records are known to be durable.
    pub(crate) end: Option<Position>,
    /// The position from which the request continues. Without it, only the log's own id is
    /// accepted.
    pub(crate) position: Option<Position>,
}

impl KnownLog {
    /// Compares it with the log's id, lineage and end. If the request knows a log from which this
    /// one was restored, returns that log and the fork.
    pub(super) fn check(
        &self,
        id: LogId,
        lineage: &Lineage,
        end: Position,
    ) -> Result<Option<Checkpoint>, Error> {
        if let Some(known) = self.id.filter(|known| *known != id) {
            return self.check_ancestor(known, id, lineage).map(Some);
        }
        if let Some(known) = self.end.filter(|known| *known > end) {
            let message = format!(
                "the log ends at {end}, before the position {known} that the request knows; \
                 it was truncated or has lost records"
            );
            return Err(Error::new(Code::LogEndRegressed, message).with("end_position", end.0));
        }
        Ok(None)
    }

    /// The known end is one of the ancestor, so it is not compared with this log's end.
    fn check_ancestor(
        &self,
        known: LogId,
        id: LogId,
        lineage: &Lineage,
    ) -> Result<Checkpoint, Error> {
        let Some(fork) = lineage.fork(known) else {
            let message = format!(
                "the log was recreated, restored or truncated: its id is now {id}, not {known}; \
                 start again from its first position"
            );
            return Err(Error::new(Code::LogChanged, message));
        };
        let message = match self.position {
            Some(position) if position <= fork => {
                return Ok(Checkpoint { log_id: known, next: fork });
            }
            Some(position) => format!(
                "the log was restored from {known} up to position {fork}, before the position \
                 {position} of this request: its id is now {id}; start again from position {fork} \
                 or an earlier one"
            ),
            None => format!(
                "the log was restored from {known} up to position {fork}: its id is now {id}, and \
                 this request needs the same log"
            ),
        };
        Err(Error::new(Code::LogChanged, message).with("fork_position", fork.0))
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
        let check = |id, end: Option<u64>| {
            let known = KnownLog { id, end: end.map(Position), position: None };
            known.check(LogId(1), &Lineage::default(), Position(10)).map_err(|e| e.code)
        };
        assert_eq!(check(None, None), Ok(None));
        assert_eq!(check(Some(id), Some(end.0)), Ok(None));
        assert_eq!(check(Some(other), None), Err(Code::LogChanged));
        assert_eq!(check(Some(id), Some(11)), Err(Code::LogEndRegressed));
    }

    #[test]
    fn id_of_an_ancestor_is_accepted_up_to_the_fork() {
        let lineage = Lineage::default().restored(LogId(7), Position(80));
        let lineage = lineage.restored(LogId(8), Position(90));
        let check = |id: u128, end: Option<u64>, position: Option<u64>| {
            let (end, position) = (end.map(Position), position.map(Position));
            let known = KnownLog { id: Some(LogId(id)), end, position };
            known.check(LogId(9), &lineage, Position(95))
        };
        let fork = |id, fork| Some(Checkpoint { log_id: LogId(id), next: Position(fork) });
        assert_eq!(check(7, None, Some(80)).expect("at the fork"), fork(7, 80));
        assert_eq!(check(8, Some(200), Some(90)).expect("at the fork"), fork(8, 90));
        for (id, position, fork) in [(7, Some(81), 80), (8, Some(91), 90), (8, None, 90)] {
            let error = check(id, Some(0), position).expect_err("after the fork");
            assert_eq!(error.code, Code::LogChanged);
            assert!(error.message.contains(&format!("up to position {fork}")), "{error}");
        }
        let error = check(6, None, Some(0)).expect_err("no ancestor");
        assert!(error.message.contains("start again from its first position"), "{error}");
    }
}
