//! [`Baseline`]: the accepted counts, in a file that people read too.
//!
//! ```text
//! # why and how
//! rustc = "1.95.0"
//!
//! [instructions_per_record]
//! record_encode_10 = 61.250
//! ```
//! It parses only the TOML that it needs, because this crate has no dependencies.

use std::fmt;
use std::path::PathBuf;

use super::Counts;
use crate::root;

/// The path from the root of the workspace.
pub(super) const PATH: &str = "tests/instructions/baseline.toml";

const HEAD: &str = "\
# Instructions per record of each case in tests/instructions. The number after its name is
# the size of the payload in bytes. `cargo xtask bench-instructions --accept` writes this
# file, and `cargo xtask bench-instructions` compares with it: over 5 % more is a failure.
#
# Callgrind simulates a CPU (with AVX2 and carry-less multiplication, without AVX-512), so
# programs take the same paths on every x86_64 machine that has these. With another
# compiler the counts differ, and nothing is compared. The work of the C library (memory,
# copies) is counted too, and a large copy counts as one instruction per byte. Another C
# library may also need a new baseline.
";

const SECTION: &str = "[instructions_per_record]";

/// The accepted counts, and the compiler they belong to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    pub(super) rustc: String,
    pub(super) counts: Counts,
}

/// The meaning of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Better,
    Worse,
    /// It has no baseline yet.
    New,
    /// It has a baseline, but is not counted any more.
    Gone,
}

/// One case, with its baseline and its new count.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    name: String,
    then: Option<f64>,
    now: Option<f64>,
    pub(super) verdict: Verdict,
}

/// The path of the file.
pub(super) fn path() -> PathBuf {
    root().join(PATH)
}

/// Reads the baseline. If there is none, prints why and returns `None`.
pub(super) fn read() -> Option<Baseline> {
    let text = std::fs::read_to_string(path());
    let read = text.map_err(|e| e.to_string()).and_then(|text| Baseline::decode(&text));
    if let Err(why) = &read {
        eprintln!("{PATH}: {why} (to write it: cargo xtask bench-instructions --accept)");
    }
    read.ok()
}

impl Baseline {
    fn decode(text: &str) -> Result<Baseline, String> {
        let (mut rustc, mut counts) = (None, Counts::new());
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wrong = || format!("cannot parse the line `{line}`");
            if line == SECTION {
                continue;
            }
            let (name, value) = line.split_once(" = ").ok_or_else(wrong)?;
            match name {
                "rustc" => rustc = Some(value.trim_matches('"').to_owned()),
                name => counts.push((name.to_owned(), value.parse().map_err(|_| wrong())?)),
            }
        }
        let rustc = rustc.ok_or("the line `rustc = …` is missing")?;
        Ok(Baseline { rustc, counts })
    }

    /// The file's text.
    pub(super) fn encode(&self) -> String {
        let Baseline { rustc, counts } = self;
        let lines = counts.iter().map(|(name, count)| format!("{name} = {count:.3}\n"));
        format!("{HEAD}rustc = \"{rustc}\"\n\n{SECTION}\n{}", lines.collect::<String>())
    }

    /// A row for each case that has a baseline or a new count.
    pub(super) fn compare(&self, counts: &[(String, f64)], percent: f64) -> Vec<Row> {
        let find = |counts: &[(String, f64)], name: &str| {
            counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
        };
        let row = |name: &String| {
            let (then, now) = (find(&self.counts, name), find(counts, name));
            Row { name: name.clone(), then, now, verdict: verdict(then, now, percent) }
        };
        let gone = self.counts.iter().filter(|(name, _)| find(counts, name).is_none());
        counts.iter().chain(gone).map(|(name, _)| row(name)).collect()
    }
}

/// A smaller difference per record is ignored. Work that is done once for thousands of
/// records is less than one instruction each, and varies with the layout of the memory.
const DIFFERENCE_MIN: f64 = 1.0;

fn verdict(then: Option<f64>, now: Option<f64>, percent: f64) -> Verdict {
    match (then, now) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Gone,
        (Some(then), Some(now)) if (now - then).abs() < DIFFERENCE_MIN => Verdict::Same,
        (Some(then), Some(now)) if now > then * (1.0 + percent / 100.0) => Verdict::Worse,
        (Some(then), Some(now)) if now < then * (1.0 - percent / 100.0) => Verdict::Better,
        _ => Verdict::Same,
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.3}"));
        let change = match (self.then, self.now) {
            (Some(then), Some(now)) if then > 0.0 => {
                format!("{:+.1} %", (now / then - 1.0) * 100.0)
            }
            _ => "-".to_owned(),
        };
        let word = match self.verdict {
            Verdict::Same => "",
            Verdict::Better => "  better",
            Verdict::Worse => "  WORSE",
            Verdict::New => "  NEW",
            Verdict::Gone => "  GONE",
        };
        let (then, now) = (count(self.then), count(self.now));
        write!(f, "{:<28} {then:>12} {now:>12} {change:>8}{word}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, f64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn encoded_baseline_can_be_decoded() {
        let counts = counts(&[("a_10", 61.25), ("b_100", 0.125)]);
        let baseline = Baseline { rustc: "1.95.0".to_owned(), counts };
        assert_eq!(Baseline::decode(&baseline.encode()), Ok(baseline));
    }

    #[test]
    fn malformed_baseline_is_an_error() {
        for text in ["", "rustc = \"1\"\na_10 = many", "rustc = \"1\"\n[section]", "a_10 = 5"] {
            assert!(Baseline::decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn more_than_five_per_cent_is_worse_and_unmatched_cases_are_reported() {
        let accepted = counts(&[
            ("same", 100.0),
            ("worse", 100.0),
            ("better", 100.0),
            ("tiny", 0.04),
            ("gone", 1.0),
        ]);
        let baseline = Baseline { rustc: String::new(), counts: accepted };
        let now = counts(&[
            ("same", 104.9),
            ("worse", 105.1),
            ("better", 94.9),
            ("tiny", 0.08),
            ("new", 1.0),
        ]);
        let rows = baseline.compare(&now, 5.0);
        let verdicts: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.verdict)).collect();
        let expected = [
            ("same", Verdict::Same),
            ("worse", Verdict::Worse),
            ("better", Verdict::Better),
            ("tiny", Verdict::Same),
            ("new", Verdict::New),
            ("gone", Verdict::Gone),
        ];
        assert_eq!(verdicts, expected);
        assert!(rows[1].to_string().ends_with("+5.1 %  WORSE"), "{}", rows[1]);
    }
}
