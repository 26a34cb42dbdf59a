//! `styx import`: copies the logs of a 0.x data directory into a directory of this
//! version, and reports the result of each log. The old directory is only read.

use std::fmt::Write;

use serde_json::{Value, json};
use styx_engine::Options;
use styx_engine::legacy::{ImportReport, LogImport, Outcome, import};

use crate::command_line::{Format, Import};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

pub(crate) fn run(arguments: &Import, format: Format) -> Result<(), Failure> {
    let Import { directory, data_directory, log } = arguments;
    let mut progress = Progress::of_bytes(Some(0));
    let report = import(directory, &Options::new(data_directory), log, &mut |at| {
        progress.set_bytes(at.bytes_done, at.bytes_total);
    })
    .map_err(|error| Failure::Failed(error.to_string()))?;
    progress.finish("read");
    output::print(&match format {
        Format::Text => text(&report),
        Format::Json => format!("{:#}\n", json(&report)),
    })?;
    let all = report.logs.len();
    match report.left() {
        0 => Ok(()),
        1 => Err(Failure::Failed(format!("1 of {all} logs was not imported"))),
        left => Err(Failure::Failed(format!("{left} of {all} logs were not imported"))),
    }
}

/// One line per log, with details on indented lines.
fn text(report: &ImportReport) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for LogImport { name, bytes, outcome } in &report.logs {
        let _ = match outcome {
            Outcome::Imported { start, end, notes } => {
                let records = end.since(*start);
                let _ = writeln!(
                    out,
                    "{name}: imported, {records} records in {bytes} bytes, positions {start} to {end}"
                );
                notes.iter().try_for_each(|note| writeln!(out, "  note: {note}"))
            }
            Outcome::Damaged(problem) => {
                let (file, offset) = (problem.file.display(), problem.offset);
                let (position, message) = (problem.position, &problem.message);
                writeln!(
                    out,
                    "{name}: damaged, not imported\n  position {position}: {message} ({file}, byte {offset})"
                )
            }
            Outcome::Refused(message) => writeln!(out, "{name}: not imported\n  {message}"),
        };
    }
    out
}

fn json(report: &ImportReport) -> Value {
    let log = |LogImport { name, bytes, outcome }: &LogImport| match outcome {
        Outcome::Imported { start, end, notes } => json!({
            "name": name,
            "imported": true,
            "start_position": start.0,
            "end_position": end.0,
            "records": end.since(*start),
            "bytes": bytes,
            "notes": notes,
        }),
        Outcome::Damaged(problem) => json!({
            "name": name,
            "imported": false,
            "message": problem.message,
            "position": problem.position.0,
            "file": problem.file.display().to_string(),
            "offset": problem.offset,
        }),
        Outcome::Refused(message) => {
            json!({ "name": name, "imported": false, "message": message })
        }
    };
    let logs: Vec<Value> = report.logs.iter().map(log).collect();
    json!({ "complete": report.left() == 0, "logs": logs })
}

#[cfg(test)]
mod tests {
    use styx_engine::verify::Problem;
    use styx_protocol::Position;

    use super::*;

    fn report() -> ImportReport {
        let log = |name: &str, outcome| LogImport { name: name.to_owned(), bytes: 99, outcome };
        let notes = vec!["a file was left out".to_owned()];
        let problem = Problem {
            file: "old/bad/x-records".into(),
            offset: 96,
            position: Position(3),
            message: "the record is cut off".to_owned(),
        };
        ImportReport {
            logs: vec![
                log("bad", Outcome::Damaged(problem)),
                log("good", Outcome::Imported { start: Position(1), end: Position(3), notes }),
                log("there", Outcome::Refused("it exists".to_owned())),
            ],
        }
    }

    #[test]
    fn report_has_a_line_per_log() {
        assert_eq!(
            text(&report()),
            "bad: damaged, not imported\n  \
             position 3: the record is cut off (old/bad/x-records, byte 96)\n\
             good: imported, 2 records in 99 bytes, positions 1 to 3\n  \
             note: a file was left out\n\
             there: not imported\n  it exists\n"
        );
    }

    #[test]
    fn json_report_has_the_same_content() {
        let json = json(&report());
        assert_eq!((&json["complete"], &json["logs"][0]["offset"]), (&false.into(), &96.into()));
        assert_eq!(
            (&json["logs"][1]["imported"], &json["logs"][1]["records"]),
            (&true.into(), &2.into())
        );
        assert_eq!(json["logs"][2]["message"], "it exists");
    }
}
