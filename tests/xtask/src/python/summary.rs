//! Counts the last line of pytest: `==== 5 passed, 1 failed, 2 skipped in 0.31s ====`.

use crate::tally::Tally;

/// Adds the counts of a line, if it is pytest's last.
pub(super) fn add_line(tally: &mut Tally, line: &str) {
    if let Some(counts) = counts(line) {
        tally.add(counts);
    }
}

/// `None` if this is another line.
fn counts(line: &str) -> Option<Tally> {
    let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let time = time.split_once('s')?.0;
    time.parse::<f64>().ok()?;
    let mut tally = Tally::default();
    for count in counts.split(", ") {
        let (number, outcome) = count.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match outcome {
            "passed" => tally.passed += number,
            // An error is a fixture that failed.
            "failed" | "error" | "errors" | "xpassed" => tally.failed += number,
            // A test that is expected to fail proves nothing.
            "skipped" | "xfailed" => tally.skipped += number,
            "deselected" | "warning" | "warnings" => {}
            _ => return None,
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(u64, u64, u64)>) {
        let found = counts(line).map(|tally| (tally.passed, tally.failed, tally.skipped));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn every_outcome_is_counted() {
        check("===== 12 passed in 3.04s =====", Some((12, 0, 0)));
        check("5 passed, 2 skipped in 0.12s", Some((5, 0, 2)));
        check("== 1 failed, 3 passed, 1 xfailed, 1 error in 1.00s ==", Some((3, 2, 1)));
        check("== 90 passed, 2 deselected, 1 warning in 75.02s (0:01:15) ==", Some((90, 0, 0)));
    }

    #[test]
    fn other_lines_are_not_counted() {
        check("tests/test_producer.py .....   [ 50%]", None);
        check("no tests ran in 0.01s", None);
        check("5 passed in review", None);
        check("test result: ok. 12 passed; 0 failed; 2 ignored", None);
    }
}
