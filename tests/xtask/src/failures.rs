//! [`Failures`]: names and reasons of failed tests, in a few short lines. They are printed
//! again at the end of a run, because a reader looks there first, and because a log may be
//! cut off in front.

/// The length of a line at most, in characters.
const LINE_LENGTH: usize = 180;
/// The lines that are printed at most.
const LINES: usize = 16;
/// The lines that are printed of the message of a Node.js test at most.
const MESSAGE_LINES: usize = 3;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    lines: Vec<String>,
    /// Tests that have run for over a minute, and have not ended.
    slow: Vec<String>,
    message_follows: bool,
    /// A failed Node.js test was named, and its message follows.
    awaits_message: bool,
    /// How many lines of this message may still be added.
    message_lines: usize,
}

impl Failures {
    /// Looks for failures in a line that a test runner has printed: cargo, pytest or node.
    pub(crate) fn add_line(&mut self, line: &str) {
        // A message may begin with an empty line.
        if self.message_follows && !line.trim().is_empty() {
            self.message_follows = false;
            self.push(&format!("  {}", line.trim()));
        }
        if let Some(test) = line.strip_prefix("test ") {
            if let Some((name, _)) = test.split_once(" has been running for over") {
                self.slow.push(name.to_owned());
            } else if let Some((name, result)) = test.split_once(" ... ") {
                self.slow.retain(|slow| slow != name);
                if result == "FAILED" {
                    self.push(line);
                }
            }
        } else if line.trim_start().starts_with("not ok ") {
            self.push(line.trim_start());
            (self.awaits_message, self.message_lines) = (true, 0);
        } else if self.awaits_message
            && let Some(error) = line.trim_start().strip_prefix("error: ")
        {
            (self.awaits_message, self.message_lines) = (false, MESSAGE_LINES);
            self.add_message(error);
        } else if self.message_lines > 0 {
            self.add_message(line);
        } else if line.starts_with("FAILED ") || line.starts_with("ERROR ") {
            self.push(line);
        } else if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.push(line);
            self.message_follows = true;
        }
    }

    /// Adds a line of the message of a Node.js test, which is a value of YAML: between quotes, or a
    /// block that ends with the next key.
    fn add_message(&mut self, line: &str) {
        let is_over = line.trim_start().starts_with("code: ") || line.trim() == "...";
        if is_over || line.starts_with('\'') {
            self.message_lines = 0;
        }
        if !is_over && !line.trim().is_empty() && line != "|-" {
            self.push(&format!("  {}", line.trim()));
            self.message_lines = self.message_lines.saturating_sub(1);
        }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, line: &str) {
        let mut short: String = line.chars().take(LINE_LENGTH).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        self.lines.push(short);
    }

    /// The run was killed because it hung.
    pub(crate) fn add_hang(&mut self, processes: &[String]) {
        let slow = std::mem::take(&mut self.slow);
        self.push(&format!("killed after a long silence; slow tests: {}", slow.join(", ")));
        for line in processes {
            self.push(&format!("  {line}"));
        }
    }

    pub(crate) fn append(&mut self, other: Failures) {
        self.lines.extend(other.lines);
    }

    /// The lines to print, each with its end. Empty if nothing has failed.
    pub(crate) fn text(&self) -> String {
        let mut text: String =
            self.lines.iter().take(LINES).map(|line| format!("{line}\n")).collect();
        let more = self.lines.len().saturating_sub(LINES);
        if more > 0 {
            text.push_str(&format!("and {more} lines more\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let mut failures = Failures::default();
        lines.iter().for_each(|line| failures.add_line(line));
        assert_eq!(failures.text(), expected);
    }

    #[test]
    fn failed_tests_are_listed_with_their_messages() {
        let lines = [
            "test a::b ... ok",
            "test c ... FAILED",
            "thread 'c' (7) panicked at a.rs:1:2:",
            "",
            "assertion failed",
            "note: run with a backtrace",
            "FAILED tests/test_a.py::test_b - AssertionError",
            "    not ok 3 - a batch is iterable",
            "      ---",
            "      error: |-",
            "        The expression is false:",
            "        ",
            "          assert(1 > 2)",
            "      code: 'ERR_ASSERTION'",
            "ok 4 - not ok 5",
            "error: test failed",
            "not ok 6 - a batch has a length",
            "  error: '1 !== 2'",
            "  code: 'ERR_ASSERTION'",
        ];
        let expected = "test c ... FAILED\n\
                        thread 'c' (7) panicked at a.rs:1:2:\n  assertion failed\n\
                        FAILED tests/test_a.py::test_b - AssertionError\n\
                        not ok 3 - a batch is iterable\n  The expression is false:\n  \
                        assert(1 > 2)\n\
                        not ok 6 - a batch has a length\n  '1 !== 2'\n";
        check(&lines, expected);
    }

    #[test]
    fn hang_names_the_tests_that_have_not_ended() {
        let mut failures = Failures::default();
        failures.add_line("test a has been running for over 60 seconds");
        failures.add_line("test b has been running for over 60 seconds");
        failures.add_line("test a ... ok");
        failures.add_hang(&["styx 7".to_owned()]);
        assert_eq!(failures.text(), "killed after a long silence; slow tests: b\n  styx 7\n");
    }

    #[test]
    fn lines_and_their_length_are_limited() {
        let mut failures = Failures::default();
        for _ in 0..LINES + 2 {
            failures.push(&"x".repeat(LINE_LENGTH + 1));
        }
        let line = format!("{}…\n", "x".repeat(LINE_LENGTH));
        assert_eq!(failures.text(), format!("{}and 2 lines more\n", line.repeat(LINES)));
    }
}
