//! `styx verify`: reads every record in the data directory of a stopped server, and
//! reports what is damaged. It only reads, so it needs no permission to write.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use styx_engine::verify::{LogReport, VerifyReport, verify};

use crate::command_line::Format;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

pub(crate) fn run(directory: &Path, format: Format) -> Result<(), Failure> {
    let mut progress = Progress::of_bytes(Some(0));
    let report = verify(directory, &mut |at| progress.set_bytes(at.bytes_done, at.bytes_total))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    progress.finish("read");
    output::print(&match format {
        Format::Text => text(&report),
        Format::Json => format!("{:#}\n", json(&report)),
    })?;
    failure(&report).map_or(Ok(()), |message| Err(Failure::Failed(message)))
}

/// Why the exit code is 1.
fn failure(report: &VerifyReport) -> Option<String> {
    let all = report.logs.len();
    let damaged = report.logs.iter().filter(|log| !log.problems.is_empty()).count();
    let newer = report.logs.iter().filter(|log| log.newer.is_some()).count();
    let count = |n, one, more| match n {
        0 => None,
        1 => Some(format!("1 of {all} logs {one}")),
        n => Some(format!("{n} of {all} logs {more}")),
    };
    let parts = [
        count(damaged, "is damaged", "are damaged"),
        count(newer, "needs a newer version of Styx", "need a newer version of Styx"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The state of a log in one word or two.
fn state(log: &LogReport) -> &'static str {
    match log {
        LogReport { problems, .. } if !problems.is_empty() => "damaged",
        LogReport { newer: Some(_), .. } => "not checked",
        _ => "ok",
    }
}

/// One line per log, and one indented line per problem and note of the log. Then one line per note
/// of the whole directory.
fn text(report: &VerifyReport) -> String {
    let mut out = String::new();
    if report.logs.is_empty() {
        out.push_str("there are no logs\n");
    }
    // Writing to a String cannot fail.
    for log in &report.logs {
        let LogReport { name, start, end, records, bytes, .. } = log;
        let state = state(log);
        let _ = writeln!(
            out,
            "{name}: {state}, {records} records in {bytes} bytes, positions {start} to {end}"
        );
        for problem in &log.problems {
            let (file, offset) = (problem.file.display(), problem.offset);
            let (position, message) = (problem.position, &problem.message);
            let _ = writeln!(out, "  position {position}: {message} ({file}, byte {offset})");
        }
        if let Some(newer) = &log.newer {
            let _ = writeln!(out, "  {newer}");
        }
        for note in &log.notes {
            let _ = writeln!(out, "  note: {note}");
        }
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn json(report: &VerifyReport) -> Value {
    let log = |log: &LogReport| {
        let problems: Vec<Value> = log
            .problems
            .iter()
            .map(|problem| {
                json!({
                    "position": problem.position.0,
                    "file": problem.file.display().to_string(),
                    "offset": problem.offset,
                    "message": problem.message,
                })
            })
            .collect();
        json!({
            "name": log.name,
            "good": log.is_good(),
            "start_position": log.start.0,
            "end_position": log.end.0,
            "records": log.records,
            "bytes": log.bytes,
            "problems": problems,
            "newer": log.newer.as_ref().map(ToString::to_string),
            "notes": log.notes,
        })
    };
    json!({
        "good": report.is_good(),
        "logs": report.logs.iter().map(log).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

#[cfg(test)]
mod tests {
    use styx_engine::NewerFormat;
    use styx_engine::verify::Problem;
    use styx_protocol::Position;

    use super::*;

    fn report() -> VerifyReport {
        let good = LogReport {
            name: "good".to_owned(),
            end: Position(2),
            records: 2,
            bytes: 99,
            notes: vec!["5 bytes are left over".to_owned()],
            ..LogReport::default()
        };
        let problem = Problem {
            file: "data/bad/1/x.seg".into(),
            offset: 96,
            position: Position(3),
            message: "a record fails its checksum".to_owned(),
        };
        let bad = LogReport {
            name: "bad".to_owned(),
            start: Position(1),
            end: Position(3),
            problems: vec![problem],
            ..LogReport::default()
        };
        VerifyReport { logs: vec![bad, good], notes: vec!["data was not locked".to_owned()] }
    }

    #[test]
    fn report_has_a_line_per_log_and_problem() {
        assert_eq!(
            text(&report()),
            "bad: damaged, 0 records in 0 bytes, positions 1 to 3\n  \
             position 3: a record fails its checksum (data/bad/1/x.seg, byte 96)\n\
             good: ok, 2 records in 99 bytes, positions 0 to 2\n  \
             note: 5 bytes are left over\n\
             note: data was not locked\n"
        );
        assert_eq!(text(&VerifyReport::default()), "there are no logs\n");
    }

    /// Bug: a log of a newer version was called damaged.
    #[test]
    fn a_log_of_a_newer_version_is_not_damaged() {
        let newer = NewerFormat { file: "data/new/log.toml".into(), format: "in format 2".into() };
        let log = LogReport { name: "new".to_owned(), newer: Some(newer), ..LogReport::default() };
        let mut report = VerifyReport { logs: vec![log], ..VerifyReport::default() };
        let refusal = "data/new/log.toml was written in format 2 by a newer version of Styx: \
                       run that version or a newer one";
        assert_eq!(
            text(&report),
            format!("new: not checked, 0 records in 0 bytes, positions 0 to 0\n  {refusal}\n")
        );
        let needed = "1 of 1 logs needs a newer version of Styx";
        assert_eq!(failure(&report).as_deref(), Some(needed));
        assert_eq!(json(&report)["logs"][0]["newer"], refusal);
        assert_eq!(json(&report)["good"], false);
        report.logs.extend(self::report().logs);
        assert!(
            failure(&report).is_some_and(|text| text.starts_with("1 of 3 logs is damaged, 1 "))
        );
        assert_eq!(failure(&VerifyReport::default()), None);
    }

    #[test]
    fn json_report_has_the_same_content() {
        let json = json(&report());
        assert_eq!(json["good"], false);
        assert_eq!(json["logs"][0]["problems"][0]["position"], 3);
        assert_eq!(json["logs"][1]["good"], true);
        assert_eq!(json["logs"][1]["end_position"], 2);
        assert_eq!(json["notes"][0], "data was not locked");
    }
}
