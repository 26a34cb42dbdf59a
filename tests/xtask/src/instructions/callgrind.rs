//! Runs the program `styx-instructions` under callgrind and reads its counts.
//!
//! The program prints each case and its number of records to standard output. Callgrind
//! writes one dump per case in the same order, with a line `totals: N`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Counts;

/// The package and its binary.
pub(super) const PROGRAM: &str = "styx-instructions";

/// The function whose instructions are counted. Its full name, not a pattern: if two
/// options have the same pattern, callgrind honours only one of them.
const COUNTED: &str = "styx_instructions::counted_work";

/// Instructions per record of every case.
///
/// # Errors
/// A description of what failed.
pub(super) fn count(target: &Path) -> Result<Counts, String> {
    let dumps = target.join("callgrind");
    // Dumps of an earlier run must not be read as dumps of this one.
    let _ = std::fs::remove_dir_all(&dumps);
    std::fs::create_dir_all(&dumps).map_err(|e| format!("{}: {e}", dumps.display()))?;
    let out = dumps.join("out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--combine-dumps=no"]);
    command.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--dump-after={COUNTED}"));
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(target.join("release").join(PROGRAM));
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed ({})", output.status));
    }
    let cases = cases(&String::from_utf8_lossy(&output.stdout))?;
    let counted = |(number, (name, records)): (usize, (String, f64))| {
        let dump = PathBuf::from(format!("{}.{}", out.display(), number + 1));
        let text =
            std::fs::read_to_string(&dump).map_err(|e| format!("{}: {e}", dump.display()))?;
        let total = total(&text).ok_or_else(|| format!("{} has no totals", dump.display()))?;
        if total < records / 1000.0 {
            return Err(format!(
                "{name}: only {total} instructions for {records} records, so callgrind did not count"
            ));
        }
        Ok((name, total / records))
    };
    cases.into_iter().enumerate().map(counted).collect()
}

/// Parses lines `name records`.
fn cases(text: &str) -> Result<Counts, String> {
    let case = |line: &str| {
        let (name, records) = line.split_once(' ')?;
        Some((name.to_owned(), records.parse().ok()?))
    };
    text.lines().map(|line| case(line).ok_or_else(|| format!("not a case: {line}"))).collect()
}

/// The total of a dump.
fn total(dump: &str) -> Option<f64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_parsed_from_a_dump() {
        assert_eq!(total("version: 1\nfn=(0) a\n0 12\n\ntotals: 655360\n"), Some(655_360.0));
        assert_eq!(total("version: 1\nsummary: 5\n"), None);
    }

    #[test]
    fn cases_are_parsed_as_name_and_records() {
        assert_eq!(
            cases("a_10 5\nb_100 7\n"),
            Ok(vec![("a_10".into(), 5.0), ("b_100".into(), 7.0)])
        );
        assert!(cases("a_10 5\nthread panicked\n").is_err());
    }
}
