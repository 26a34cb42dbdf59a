//! [`Schedule`]: when the manifest of each log is looked at next.
//!
//! ```text
//! changed or read ─▶ after the shortest pause    quiet ─▶ after twice the last one, up to 60 times
//! not served      ─▶ after 360 times the shortest pause
//! ```
//!
//! Times are those since an arbitrary start. Invariant: a log that is being looked at is not due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use styx_protocol::LogId;

/// The longest pause of a served log, in shortest pauses.
pub(super) const SLOWEST: u32 = 60;

/// The pause of a log that is not served, in shortest pauses: its manifest may be undeleted.
const UNSERVED: u32 = 360;

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The log has changed, or is read.
    Busy,
    /// Neither.
    Quiet,
    /// The look failed: the pause stays as it is.
    Failed,
    /// The log is not served, because it was deleted or another one has its name.
    Unserved,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    shortest: Duration,
    turns: HashMap<LogId, Turn>,
    /// The times of all turns, and of some that were replaced.
    due: BinaryHeap<Reverse<(Duration, u128)>>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    /// When it is due. `None` while the log is being looked at.
    at: Option<Duration>,
    /// When the last look ended.
    last: Duration,
    pause: Duration,
}

impl Schedule {
    pub(super) fn new(shortest: Duration) -> Schedule {
        Schedule { shortest, turns: HashMap::new(), due: BinaryHeap::new() }
    }

    /// Adds a log that was looked at now. One that is known stays as it is.
    pub(super) fn add(&mut self, id: LogId, now: Duration) {
        if !self.turns.contains_key(&id) {
            let turn = Turn { at: None, last: now, pause: self.shortest };
            self.turns.insert(id, turn);
            self.set(id, now + self.shortest);
        }
    }

    pub(super) fn remove(&mut self, id: LogId) {
        self.turns.remove(&id);
    }

    /// A log that is due. It is being looked at until [`Schedule::done`].
    pub(super) fn take(&mut self, now: Duration) -> Option<LogId> {
        self.skip_replaced();
        let Reverse((at, id)) = self.due.peek().copied()?;
        if at > now {
            return None;
        }
        self.due.pop();
        let id = LogId(id);
        self.turns.get_mut(&id)?.at = None;
        Some(id)
    }

    /// When the next log is due.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.skip_replaced();
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The look at a log has ended.
    pub(super) fn done(&mut self, id: LogId, now: Duration, pace: Pace) {
        let (shortest, slowest) = (self.shortest, self.shortest * SLOWEST);
        let Some(turn) = self.turns.get_mut(&id) else { return };
        turn.last = now;
        turn.pause = match pace {
            Pace::Busy => shortest,
            Pace::Quiet => (turn.pause * 2).min(slowest),
            Pace::Failed => turn.pause.min(slowest),
            Pace::Unserved => shortest * UNSERVED,
        };
        let at = now + turn.pause;
        self.set(id, at);
    }

    /// The log is read, so its next look is after the shortest pause.
    pub(super) fn hurry(&mut self, id: LogId, now: Duration) {
        let shortest = self.shortest;
        let Some(turn) = self.turns.get_mut(&id) else { return };
        turn.pause = shortest;
        let soon = (turn.last + shortest).max(now);
        if turn.at.is_some_and(|at| at > soon) {
            self.set(id, soon);
        }
    }

    fn set(&mut self, id: LogId, at: Duration) {
        if let Some(turn) = self.turns.get_mut(&id) {
            turn.at = Some(at);
            self.due.push(Reverse((at, id.0)));
        }
        // Replaced times are dropped before they are most of the heap.
        if self.due.len() > 2 * self.turns.len() + 64 {
            let turns = &self.turns;
            let times = turns.iter().filter_map(|(id, turn)| Some(Reverse((turn.at?, id.0))));
            self.due = times.collect();
        }
    }

    fn skip_replaced(&mut self) {
        while let Some(Reverse((at, id))) = self.due.peek().copied()
            && self.turns.get(&LogId(id)).is_none_or(|turn| turn.at != Some(at))
        {
            self.due.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks at all logs that are due until `until`, with the pace of each look.
    fn looks(
        schedule: &mut Schedule,
        until: Duration,
        pace: impl Fn(Duration) -> Pace,
    ) -> Vec<u64> {
        let mut looks = Vec::new();
        while let Some(at) = schedule.next().filter(|at| *at <= until) {
            assert!(schedule.take(at.saturating_sub(SECOND)).is_none(), "it is not due earlier");
            let id = schedule.take(at).expect("one is due");
            assert_eq!(schedule.take(at), None, "it is being looked at");
            looks.push(at.as_secs());
            schedule.done(id, at, pace(at));
        }
        looks
    }

    #[test]
    fn quiet_log_is_looked_at_once_in_ten_minutes_in_the_end() {
        let mut schedule = Schedule::new(10 * SECOND);
        schedule.add(LogId(1), Duration::ZERO);
        let looks = looks(&mut schedule, 10_000 * SECOND, |_| Pace::Quiet);
        assert_eq!(looks[..8], [10, 30, 70, 150, 310, 630, 1230, 1830]);
        let late = looks.iter().filter(|at| (4000..10_000).contains(*at)).count();
        assert_eq!(late, 10, "6,000 s later");
    }

    #[test]
    fn busy_log_is_looked_at_after_each_shortest_pause_and_slows_down_when_it_is_quiet() {
        let mut schedule = Schedule::new(10 * SECOND);
        schedule.add(LogId(1), Duration::ZERO);
        let pace = |at| if at < 40 * SECOND { Pace::Busy } else { Pace::Quiet };
        assert_eq!(looks(&mut schedule, 100 * SECOND, pace), [10, 20, 30, 40, 60, 100]);
    }

    #[test]
    fn read_of_a_quiet_log_is_followed_by_a_look() {
        let mut schedule = Schedule::new(10 * SECOND);
        schedule.add(LogId(1), Duration::ZERO);
        assert_eq!(looks(&mut schedule, 700 * SECOND, |_| Pace::Quiet).last(), Some(&630));
        schedule.hurry(LogId(1), 635 * SECOND);
        assert_eq!(schedule.next(), Some(640 * SECOND), "not before the shortest pause");
        schedule.hurry(LogId(1), 645 * SECOND);
        assert_eq!(schedule.next(), Some(640 * SECOND), "it is due already");
        assert_eq!(looks(&mut schedule, 700 * SECOND, |_| Pace::Quiet), [640, 660, 700]);
    }

    #[test]
    fn failures_keep_the_pause_and_unserved_logs_have_a_long_one() {
        let mut schedule = Schedule::new(10 * SECOND);
        schedule.add(LogId(1), Duration::ZERO);
        assert_eq!(looks(&mut schedule, 30 * SECOND, |_| Pace::Failed), [10, 20, 30]);
        assert_eq!(looks(&mut schedule, 3640 * SECOND, |_| Pace::Unserved), [40, 3640]);
    }

    #[test]
    fn removed_log_is_not_due_and_the_heap_stays_small() {
        let mut schedule = Schedule::new(10 * SECOND);
        for id in 0..10 {
            schedule.add(LogId(id), Duration::ZERO);
        }
        for second in 0..10_000u32 {
            schedule.done(LogId(3), SECOND * second, Pace::Busy);
        }
        assert!(schedule.due.len() <= 2 * 10 + 64, "{}", schedule.due.len());
        for id in 0..10 {
            schedule.remove(LogId(id));
        }
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.take(Duration::MAX), None);
    }
}
