//! Counts the last lines of Node's test runner: `# pass 12`, `# fail 1`, and so on.

use crate::tally::Tally;

/// Adds the count of a line, if it is one of the last.
pub(super) fn add_line(tally: &mut Tally, line: &str) {
    let Some((outcome, number)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '))
    else {
        return;
    };
    let Ok(number) = number.parse::<u64>() else { return };
    match outcome {
        "pass" => tally.passed += number,
        // A test is cancelled if it does not end in time, or if its process dies.
        "fail" | "cancelled" => tally.failed += number,
        // A test that is expected to fail proves nothing.
        "skipped" | "todo" => tally.skipped += number,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: (u64, u64, u64)) {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| add_line(&mut tally, line));
        assert_eq!((tally.passed, tally.failed, tally.skipped), expected);
    }

    #[test]
    fn every_outcome_is_counted() {
        let lines = [
            "1..3",
            "# tests 21",
            "# suites 2",
            "# pass 12",
            "# fail 1",
            "# cancelled 2",
            "# skipped 4",
            "# todo 2",
            "# duration_ms 3401.2",
        ];
        check(&lines, (12, 3, 6));
    }

    #[test]
    fn other_lines_are_not_counted() {
        let lines =
            ["ok 1 - # pass 12", "# Subtest: pass 12", "# pass it on", "    # pass 12", "# pass"];
        check(&lines, (0, 0, 0));
    }
}
