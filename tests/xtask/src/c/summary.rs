//! Counts the last lines of ctest: `100% tests passed, 0 tests failed out of 12`.

use crate::tally::Tally;

/// Adds the counts of a line, if it is that line.
pub(super) fn add_line(tally: &mut Tally, line: &str) {
    let Some((failed, total)) = counts(line) else { return };
    tally.passed += total.saturating_sub(failed);
    tally.failed += failed;
}

fn counts(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.split_once("% tests passed, ")?;
    let (failed, total) = counts.split_once(" tests failed out of ")?;
    Some((failed.parse().ok()?, total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: (u64, u64)) {
        let mut tally = Tally::default();
        add_line(&mut tally, line);
        assert_eq!((tally.passed, tally.failed), expected, "{line}");
    }

    #[test]
    fn the_last_line_is_counted() {
        check("100% tests passed, 0 tests failed out of 12", (12, 0));
        check("75% tests passed, 3 tests failed out of 12", (9, 3));
    }

    #[test]
    fn other_lines_are_not_counted() {
        check(" 2/12 Test  #4: cursors ..........................   Passed    1.65 sec", (0, 0));
        check("test result: ok. 3 passed; 0 failed", (0, 0));
    }
}
