//! [`Selection`]: which of the records that were read are printed, and where the read ends.
//!
//! ```text
//! batch ─▶ --until: ends before the first later record ─▶ --grep ─▶ --count: ends after the last
//! ```
//! With `--grep`, the server cannot count, because it does not know which records match.

use regex::bytes::Regex;
use styx_client::RecordBatch;

/// See the module.
#[derive(Debug)]
pub(super) struct Selection {
    grep: Option<Regex>,
    /// How many more records may be printed, if the server does not count.
    left: u64,
    /// Records from this time on are not printed, in µs since the epoch.
    until_us: u64,
}

/// The part of a batch that is printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// The records up to this index are done, printed or not.
    pub(super) done: usize,
    /// The indices of the records to print; `None` for all that are done.
    pub(super) printed: Option<Vec<usize>>,
    /// Whether the read ends here.
    pub(super) is_end: bool,
}

impl Selection {
    pub(super) fn new(grep: Option<Regex>, count: Option<u64>, until_us: Option<u64>) -> Selection {
        let left = if grep.is_some() { count } else { None };
        let (left, until_us) = (left.unwrap_or(u64::MAX), until_us.unwrap_or(u64::MAX));
        Selection { grep, left, until_us }
    }

    /// Whether nothing more can be printed.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Selects from the next batch.
    pub(super) fn of(&mut self, batch: &RecordBatch) -> Selected {
        let mut before = batch.len();
        if self.until_us < u64::MAX {
            let is_late = |run: &styx_client::batch::TimestampRun| run.timestamp >= self.until_us;
            before = batch.runs().find(is_late).map_or(before, |run| run.first);
        }
        let is_late = before < batch.len();
        if self.grep.is_none() {
            return Selected { done: before, printed: None, is_end: is_late };
        }
        let mut printed = Vec::new();
        for (index, payload) in batch.payloads().take(before).enumerate() {
            if !self.takes(payload) {
                continue;
            }
            printed.push(index);
            if self.is_over() {
                return Selected { done: index + 1, printed: Some(printed), is_end: true };
            }
        }
        Selected { done: before, printed: Some(printed), is_end: is_late }
    }

    /// Whether the record is printed. If so, it counts.
    pub(super) fn takes(&mut self, payload: &[u8]) -> bool {
        if self.is_over() || self.grep.as_ref().is_some_and(|grep| !grep.is_match(payload)) {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use styx_client::LogId;

    use super::*;

    /// Records 10 to 15, two in each microsecond from 100 on.
    fn batch() -> RecordBatch {
        let records = ["a0", "b1", "a2", "b3", "a4", "b5"].into_iter().enumerate();
        let records = records.map(|(index, payload)| (100 + index as u64 / 2, payload));
        RecordBatch::of_records(LogId(1), 10, records)
    }

    #[track_caller]
    fn check(
        grep: Option<&str>,
        count: Option<u64>,
        until_us: Option<u64>,
        expected: (usize, Option<&[usize]>, bool),
    ) {
        let grep = grep.map(|grep| Regex::new(grep).expect("a pattern"));
        let selected = Selection::new(grep, count, until_us).of(&batch());
        let (done, printed, is_end) = expected;
        let printed = printed.map(<[usize]>::to_vec);
        assert_eq!(selected, Selected { done, printed, is_end });
    }

    #[test]
    fn everything_is_selected_by_default_and_the_server_counts() {
        check(None, None, None, (6, None, false));
        check(None, Some(2), None, (6, None, false));
    }

    #[test]
    fn read_ends_before_the_first_record_at_the_time() {
        check(None, None, Some(101), (2, None, true));
        check(None, None, Some(100), (0, None, true));
        check(None, None, Some(103), (6, None, false));
        check(Some("a"), None, Some(101), (2, Some(&[0]), true));
    }

    #[test]
    fn count_is_of_records_that_match() {
        check(Some("b"), Some(2), None, (4, Some(&[1, 3]), true));
        check(Some("b"), Some(9), None, (6, Some(&[1, 3, 5]), false));
        check(Some("^b5$"), Some(1), Some(102), (4, Some(&[]), true));
        check(Some("x"), None, None, (6, Some(&[]), false));
    }

    #[test]
    fn pattern_matches_bytes_that_are_not_text() {
        let mut selection = Selection::new(Regex::new(r"(?-u)\xff$").ok(), None, None);
        assert!(selection.takes(b"a\xff") && !selection.takes(b"\xffa"));
    }
}
