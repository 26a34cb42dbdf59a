//! [`Lineage`]: the logs from which a log was restored.
//!
//! ```text
//! first log    0 ─────────── 80 ──── 95        its archive ended at 80
//! restored     0 ─────────── 80 ─────────▶     lineage: (first log, fork 80)
//! ```
//!
//! Positions at or below the fork mean the same in both logs, so a client with such a position
//! continues in the restored log. Invariant: a fork never grows, because a log that is restored from
//! a restored one has at most the records of both.

use styx_protocol::{Checkpoint, LogId, Position};

/// A log from which another one was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// The id of the log.
    pub id: LogId,
    /// Records before this position are the same in both logs.
    pub fork: Position,
}

/// The logs from which a log was restored, oldest first, at most [`Lineage::MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage(Vec<Ancestor>);

impl Lineage {
    /// The most ancestors that a log remembers. Beyond that, it forgets the oldest.
    pub const MAX: usize = 256;

    /// The lineage with these ancestors, oldest first. If there are too many, the oldest are left
    /// out.
    #[must_use]
    pub fn new(ancestors: impl IntoIterator<Item = Ancestor>) -> Lineage {
        let mut ancestors: Vec<Ancestor> = ancestors.into_iter().collect();
        ancestors.drain(..ancestors.len().saturating_sub(Lineage::MAX));
        Lineage(ancestors)
    }

    /// The lineage of a log that is restored from a log with this lineage and id, up to `end`.
    #[must_use]
    pub fn restored(&self, id: LogId, end: Position) -> Lineage {
        let older = self
            .0
            .iter()
            .map(|ancestor| Ancestor { id: ancestor.id, fork: ancestor.fork.min(end) });
        Lineage::new(older.chain([Ancestor { id, fork: end }]))
    }

    /// The position up to which the log is the same as this ancestor. `None` if it is no ancestor.
    #[must_use]
    pub fn fork(&self, id: LogId) -> Option<Position> {
        self.0.iter().find(|ancestor| ancestor.id == id).map(|ancestor| ancestor.fork)
    }

    /// The ancestors, oldest first.
    #[must_use]
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.0
    }

    /// The texts of `log.toml`: an id and a fork each.
    pub(crate) fn encode(&self) -> Vec<String> {
        let text = |ancestor: &Ancestor| {
            Checkpoint { log_id: ancestor.id, next: ancestor.fork }.to_string()
        };
        self.0.iter().map(text).collect()
    }

    /// Decodes the texts of `log.toml`. `None` if they are not a lineage.
    pub(crate) fn decode(texts: &[String]) -> Option<Lineage> {
        if texts.len() > Lineage::MAX {
            return None;
        }
        let ancestor = |text: &String| {
            let Checkpoint { log_id: id, next: fork } = text.parse().ok()?;
            Some(Ancestor { id, fork })
        };
        texts.iter().map(ancestor).collect::<Option<_>>().map(Lineage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ancestor(id: u128, fork: u64) -> Ancestor {
        Ancestor { id: LogId(id), fork: Position(fork) }
    }

    #[test]
    fn forks_of_older_ancestors_end_where_the_restored_log_forks() {
        let first = Lineage::default().restored(LogId(1), Position(80));
        let second = first.restored(LogId(2), Position(200));
        assert_eq!(second.ancestors(), [ancestor(1, 80), ancestor(2, 200)]);
        let earlier = second.restored(LogId(3), Position(50));
        assert_eq!(earlier.ancestors(), [ancestor(1, 50), ancestor(2, 50), ancestor(3, 50)]);
        assert_eq!(earlier.fork(LogId(2)), Some(Position(50)));
        assert_eq!(earlier.fork(LogId(4)), None);
    }

    #[test]
    fn a_lineage_that_is_too_long_forgets_the_oldest_ancestor() {
        let mut lineage = Lineage::default();
        for id in 0..=Lineage::MAX as u128 {
            lineage = lineage.restored(LogId(id), Position(7));
        }
        assert_eq!(lineage.ancestors().len(), Lineage::MAX);
        assert_eq!(lineage.fork(LogId(0)), None);
        assert_eq!(lineage.fork(LogId(1)), Some(Position(7)));
        assert_eq!(Lineage::decode(&lineage.encode()), Some(lineage));
    }

    #[test]
    fn texts_that_are_no_lineage_are_refused() {
        let valid = Lineage::new([ancestor(1, 80)]).encode();
        assert!(Lineage::decode(&valid).is_some());
        assert_eq!(Lineage::decode(&["1:80".to_owned()]), None);
        assert_eq!(Lineage::decode(&vec![valid[0].clone(); Lineage::MAX + 1]), None);
    }
}
