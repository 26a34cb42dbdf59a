//! `styx repair`: replaces a damaged log with its readable records. Without `--yes` it only
//! reports what would be lost.

use std::fmt::Write;

use serde_json::{Value, json};
use styx_engine::repair::{Keep, Mode, Range, RepairReport, repair};

use crate::command_line::{Format, KeepRange, Repair};
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(arguments: &Repair, format: Format) -> Result<(), Failure> {
    let Repair { directory, log, keep, yes } = arguments;
    let keep = match keep {
        KeepRange::Longest => Keep::Longest,
        KeepRange::First => Keep::First,
        KeepRange::Last => Keep::Last,
    };
    let mode = if *yes { Mode::Repair } else { Mode::DryRun };
    let report = repair(directory, log, keep, mode, &mut |_| {})
        .map_err(|error| Failure::Failed(error.to_string()))?;
    output::print(&match format {
        Format::Text => text(log.as_str(), &report),
        Format::Json => format!("{:#}\n", json(log.as_str(), &report)),
    })
}

fn text(log: &str, report: &RepairReport) -> String {
    let RepairReport { log: all, whole, kept, set_aside } = report;
    let mut out = format!("{log}: positions {} to {}\n", all.start, all.end);
    // Writing to a String cannot fail.
    for range in whole {
        let keeps = match (range == kept, set_aside) {
            (false, _) => "",
            (true, None) => ": would be kept",
            (true, Some(_)) => ": kept",
        };
        let _ = writeln!(out, "  {} to {} can be read{keeps}", range.start, range.end);
    }
    let lost = all.records() - kept.records();
    let _ = match set_aside {
        None => writeln!(
            out,
            "  {lost} records would be lost. Nothing was changed: restore a backup if you have one, or add --yes"
        ),
        Some(path) => writeln!(
            out,
            "  {lost} records were lost. The damaged log is in {}. Consumers will be told that the log has changed",
            path.display()
        ),
    };
    out
}

fn json(log: &str, report: &RepairReport) -> Value {
    let range = |range: &Range| json!({ "start": range.start.0, "end": range.end.0 });
    json!({
        "name": log,
        "positions": range(&report.log),
        "whole": report.whole.iter().map(range).collect::<Vec<_>>(),
        "kept": range(&report.kept),
        "records_lost": report.log.records() - report.kept.records(),
        "set_aside": report.set_aside.as_ref().map(|path| path.display().to_string()),
    })
}

#[cfg(test)]
mod tests {
    use styx_protocol::Position;

    use super::*;

    fn report(set_aside: Option<&str>) -> RepairReport {
        let range = |start, end| Range { start: Position(start), end: Position(end) };
        RepairReport {
            log: range(0, 60),
            whole: vec![range(0, 30), range(31, 60)],
            kept: range(0, 30),
            set_aside: set_aside.map(Into::into),
        }
    }

    #[test]
    fn report_tells_what_would_be_lost_and_what_was_lost() {
        assert_eq!(
            text("orders", &report(None)),
            "orders: positions 0 to 60\n  0 to 30 can be read: would be kept\n  31 to 60 can be read\n  \
             30 records would be lost. Nothing was changed: restore a backup if you have one, or add --yes\n"
        );
        let done = text("orders", &report(Some("data/.damaged-orders-1")));
        assert!(done.contains("0 to 30 can be read: kept"), "{done}");
        assert!(done.contains("The damaged log is in data/.damaged-orders-1."), "{done}");
        assert_eq!(json("orders", &report(None))["records_lost"], 30);
    }
}
