//! A run's report for people: conditions, limits, a table, the verdict.

use std::fmt::Write;
use std::time::Duration;

use super::Report;
use crate::benchmark::beside::Measured;
use crate::benchmark::machine::{DRIFT_MAX, Limits, MEASUREMENTS};
use crate::benchmark::outcome::{Bound, Figure, Unit};
use crate::benchmark::statistics::shown;

const COLUMNS: usize = 9;

pub(super) fn of(report: &Report) -> String {
    let mut out = String::new();
    conditions(report, &mut out);
    limits(report, &mut out);
    let mut rows = vec![
        ["WORKLOAD", "PROTOCOL", "PAYLOAD", "LOAD", "FIGURE", "MEDIAN", "RANGE", "BYTES", "LIMIT"]
            .map(str::to_owned),
    ];
    for measured in &report.outcomes {
        let figures = measured.outcome.figures.iter().enumerate();
        rows.extend(figures.map(|(at, figure)| row(measured, at, figure)));
    }
    table(&rows, &mut out);
    let outcomes = report.outcomes.iter().map(|measured| &measured.outcome);
    let mut notes = outcomes.flat_map(|o| o.notes.iter().map(move |note| (o, note)));
    if let Some(first) = notes.next() {
        out.push('\n');
        for (outcome, note) in std::iter::once(first).chain(notes) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}: {note}", outcome.workload);
        }
    }
    verdict(report, &mut out);
    out
}

fn conditions(report: &Report, out: &mut String) {
    let c = &report.conditions;
    let alone = if c.alone { ", started for this run" } else { "" };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    line("styx", c.version.to_owned());
    line("server", format!("{}{alone}", c.server));
    line("directory", format!("{} on {}", c.directory, c.filesystem));
    line(
        "machine",
        format!(
            "{}, {} cores, {:.1} GiB",
            c.kernel,
            c.cores,
            c.memory_bytes as f64 / f64::from(1 << 30)
        ),
    );
    line("date", c.date.clone());
    line(
        "parameters",
        format!(
            "{} rounds of {} after {} of warming up; paced load {} a second; medians and ranges",
            c.rounds,
            time(c.seconds.as_secs_f64()),
            time(c.warm_up.as_secs_f64()),
            c.rate
        ),
    );
}

fn limits(report: &Report, out: &mut String) {
    let both =
        |of: &dyn Fn(&Limits) -> String| format!("{}, {}", of(&report.before), of(&report.after));
    out.push('\n');
    let mut line = |name: &str, about: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{about:<58}{value}");
    };
    line("LIMIT", &format!("medians of {MEASUREMENTS}"), "FIRST, LAST".to_owned());
    let way = if report.before.disk_is_direct { "O_DIRECT" } else { "buffered" };
    let disk = format!("sequential writes of 4 MiB, each synced, {way}");
    let rate = |rate: f64| format!("{}B/s", shown(rate));
    line("DISK", &disk, both(&|l| rate(l.disk)));
    line("SYNC", "one write of 4 KiB and its sync", both(&|l| time(l.sync.as_secs_f64())));
    line("LOOP", "one TCP stream over loopback", both(&|l| rate(l.loopback)));
    line("TRIP", "one byte over loopback and back", both(&|l| time(l.round_trip.as_secs_f64())));
    line("BARE", "a bare HTTP service under the same load", "beside each result".to_owned());
    let bare = "a thread that syncs and answers, at the rate of paced";
    line("bare", bare, "below each result\n".to_owned());
}

fn row(measured: &Measured, at: usize, figure: &Figure) -> [String; COLUMNS] {
    let outcome = &measured.outcome;
    let rounds = &figure.rounds;
    let value = |value| quantity(value, figure.unit);
    let bound = |bound: Bound| {
        let share = figure.share(&measured.limits()).unwrap_or_default();
        let beside = match (bound, figure.unit) {
            (Bound::Bare(rate), _) => format!("{share:.2} of {} ({}/s)", bound.name(), shown(rate)),
            (_, Unit::Seconds) => format!("{share:.2} x {}", bound.name()),
            _ => format!("{share:.2} of {}", bound.name()),
        };
        match measured.invalid() {
            Some((name, share)) => format!("{beside}; {}", moved(name, share)),
            None => beside,
        }
    };
    // What stands in the row above is not repeated.
    let once = |text: String| if at == 0 { text } else { String::new() };
    [
        once(outcome.workload.to_owned()),
        once(outcome.protocol.map_or_else(String::new, |p| p.to_string())),
        once(outcome.payload.map_or_else(String::new, |kind| kind.to_string())),
        once(outcome.load.clone()),
        figure.name.to_owned(),
        value(rounds.median()),
        format!("{} .. {}", value(rounds.low()), value(rounds.high())),
        figure.bytes_per_second().map_or_else(String::new, |rate| format!("{}B/s", shown(rate))),
        figure.bound.map_or_else(String::new, bound),
    ]
}

fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Records | Unit::Requests => format!("{}/s", shown(value)),
        Unit::Seconds => time(value),
        Unit::SecondsPerGib => format!("{}/GiB", time(value)),
        Unit::Bytes if value >= f64::from(1 << 20) => {
            format!("{:.1} MiB", value / f64::from(1 << 20))
        }
        Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
        Unit::Ratio => format!("{value:.2}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.0} us", s * 1e6),
    }
}

/// Columns as wide as their longest cell.
fn table(rows: &[[String; COLUMNS]], out: &mut String) {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn verdict(report: &Report, out: &mut String) {
    let outcomes = || report.outcomes.iter().map(|measured| &measured.outcome);
    let written: u64 = outcomes().map(|outcome| outcome.written).sum();
    let checked: u64 = outcomes().map(|outcome| outcome.checked).sum();
    let _ = writeln!(
        out,
        "\n{written} records were acked, and only such count; {checked} were read back, and all were right."
    );
    match report.invalid() {
        _ if report.conditions.quick => {
            let _ = writeln!(out, "QUICK: everything works; how fast, a longer run has to say.");
        }
        None => {
            let _ = writeln!(
                out,
                "VALID: no limit moved more than {:.0} % during the run or one of its cases.",
                DRIFT_MAX * 100.0
            );
        }
        Some(why) => {
            let _ = writeln!(
                out,
                "INVALID: {why}. Something else used the machine: do not quote these figures; \
                 give it some peace and run again."
            );
        }
    }
}

/// What a limit did, as in `DISK moved 31 %`.
pub(in crate::benchmark) fn moved(name: &str, share: f64) -> String {
    format!("{name} moved {:.0} %", share * 100.0)
}

/// For lines of progress.
pub(in crate::benchmark) fn summary(measured: &Measured) -> String {
    let figures = measured.outcome.figures.iter();
    let figures = figures
        .map(|figure| format!("{} {}", figure.name, quantity(figure.rounds.median(), figure.unit)));
    figures.collect::<Vec<_>>().join(", ")
}

/// For lines of progress too.
pub(in crate::benchmark) fn limits_in_short(limits: &Limits) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    format!(
        "DISK {}B/s, SYNC {}, LOOP {}B/s, TRIP {}",
        shown(limits.disk),
        time(seconds(limits.sync)),
        shown(limits.loopback),
        time(seconds(limits.round_trip))
    )
}
