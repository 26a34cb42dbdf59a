//! Runs the program of cases under callgrind and reads what it counted.
//!
//! The program says on stdout which case it has done with how many records; callgrind
//! writes a dump as often, in the same order, with a line `totals: N`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Counts;

/// The package, and its binary.
pub(super) const PROGRAM: &str = "styx-instructions";

/// The function in it that is counted. By its whole name: of two options with the
/// same pattern callgrind heeds one.
const COUNTED: &str = "styx_instructions::counted_work";

/// Instructions per record of every case.
///
/// # Errors
/// What failed, for people.
pub(super) fn count(target: &Path) -> Result<Counts, String> {
    let dumps = target.join("callgrind");
    // What an earlier run left would be taken for this one's.
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
            return Err(format!("{name}: {total} instructions for {records} records: not counted"));
        }
        Ok((name, total / records))
    };
    cases.into_iter().enumerate().map(counted).collect()
}

/// `name records` in lines.
fn cases(said: &str) -> Result<Counts, String> {
    let case = |line: &str| {
        let (name, records) = line.split_once(' ')?;
        Some((name.to_owned(), records.parse().ok()?))
    };
    said.lines().map(|line| case(line).ok_or_else(|| format!("not a case: {line}"))).collect()
}

/// What a dump counted in all.
fn total(dump: &str) -> Option<f64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_for_its_total() {
        assert_eq!(total("version: 1\nfn=(0) a\n0 12\n\ntotals: 655360\n"), Some(655_360.0));
        assert_eq!(total("version: 1\nsummary: 5\n"), None);
    }

    #[test]
    fn cases_are_names_and_records() {
        assert_eq!(
            cases("a_10 5\nb_100 7\n"),
            Ok(vec![("a_10".into(), 5.0), ("b_100".into(), 7.0)])
        );
        assert!(cases("a_10 5\nthread panicked\n").is_err());
    }
}
