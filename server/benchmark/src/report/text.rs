//! The report of a run as text: conditions, limits, a table of figures, the verdict.

use std::fmt::Write;
use std::time::Duration;

use super::Report;
use crate::machine::{CHANGE_MAX, Limits, MEASUREMENTS};
use crate::outcome::{Bound, Figure, Unit};
use crate::reference_limits::MeasuredCase;
use crate::statistics::format_rate;

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
    let started = if c.server_is_child { ", started for this run" } else { "" };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    line("styx", c.version.to_owned());
    line("server", format!("{}{started}", c.server));
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
            "{} {} of {}, each after a warm-up of {}; rate of paced loads: {} records/s",
            c.rounds,
            if c.rounds == 1 { "round" } else { "rounds" },
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
    let about = format!("median of {MEASUREMENTS} measurements");
    line("LIMIT", &about, "BEFORE, AFTER THE RUN".to_owned());
    let way = if report.before.disk_is_direct { "O_DIRECT" } else { "buffered" };
    let disk = format!("sequential writes of 4 MiB, each synced, {way}");
    let rate = |rate: f64| format!("{}B/s", format_rate(rate));
    line("DISK", &disk, both(&|l| rate(l.disk)));
    let read = format!("sequential cold reads, {}", report.before.read_way);
    line("READ", &read, both(&|l| rate(l.read)));
    line("SYNC", "one write of 4 KiB and its sync", both(&|l| time(l.sync.as_secs_f64())));
    line("LOOP", "one TCP stream over loopback", both(&|l| rate(l.loopback)));
    line(
        "TRIP",
        "round trip of one byte over loopback",
        both(&|l| time(l.round_trip.as_secs_f64())),
    );
    let http = "a minimal HTTP service under the same load";
    line("BARE", http, "in the column LIMIT".to_owned());
    let echo = "a thread that syncs and answers, at the rate of paced";
    line("bare", echo, "in the rows of paced\n".to_owned());
}

fn row(measured: &MeasuredCase, at: usize, figure: &Figure) -> [String; COLUMNS] {
    let outcome = &measured.outcome;
    let rounds = &figure.rounds;
    let value = |value| quantity(value, figure.unit);
    let bound = |bound: Bound| {
        let share = figure.share(&measured.limits()).unwrap_or_default();
        let ratio = match (bound, figure.unit) {
            (Bound::HttpBaseline(rate) | Bound::Plain(rate), _) => {
                format!("{share:.2} of {} ({}/s)", bound.name(), format_rate(rate))
            }
            (_, Unit::Seconds) => format!("{share:.2} x {}", bound.name()),
            _ => format!("{share:.2} of {}", bound.name()),
        };
        match measured.invalid() {
            Some((name, share)) => format!("{ratio}; {}", change(name, share)),
            None => ratio,
        }
    };
    // Cells that would repeat the row above are empty.
    let once = |text: String| if at == 0 { text } else { String::new() };
    [
        once(outcome.workload.to_owned()),
        once(outcome.protocol.map_or_else(String::new, |p| p.to_string())),
        once(outcome.payload.map_or_else(String::new, |kind| kind.to_string())),
        once(outcome.load.clone()),
        figure.name.to_owned(),
        value(rounds.median()),
        format!("{} .. {}", value(rounds.low()), value(rounds.high())),
        figure
            .bytes_per_second()
            .map_or_else(String::new, |rate| format!("{}B/s", format_rate(rate))),
        figure.bound.map_or_else(String::new, bound),
    ]
}

fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Records | Unit::Requests => format!("{}/s", format_rate(value)),
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

/// Aligns the cells: each column is as wide as its longest cell.
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
        "\n{written} records were acked; {checked} were read back and checked, all correct."
    );
    match report.invalid() {
        _ if report.conditions.quick => {
            let _ = writeln!(
                out,
                "QUICK: everything works, but the figures do not count; run without --quick to measure."
            );
        }
        None => {
            let _ = writeln!(
                out,
                "VALID: no limit that a figure is compared with changed by more than {:.0} %.",
                CHANGE_MAX * 100.0
            );
        }
        Some(why) => {
            let _ = writeln!(
                out,
                "INVALID: {why}. Another program used the machine, so these figures do not \
                 count. Stop other programs and run again."
            );
        }
    }
}

/// How much a limit changed, for example `DISK changed by 31 %`.
pub(crate) fn change(name: &str, share: f64) -> String {
    format!("{name} changed by {:.0} %", share * 100.0)
}

/// The figures of a case in one line, for progress.
pub(crate) fn summary(measured: &MeasuredCase) -> String {
    let figures = measured.outcome.figures.iter();
    let figures = figures
        .map(|figure| format!("{} {}", figure.name, quantity(figure.rounds.median(), figure.unit)));
    figures.collect::<Vec<_>>().join(", ")
}

/// The limits in one line, for progress.
pub(crate) fn limits_in_short(limits: &Limits) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    format!(
        "DISK {}B/s, READ {}B/s, SYNC {}, LOOP {}B/s, TRIP {}",
        format_rate(limits.disk),
        format_rate(limits.read),
        time(seconds(limits.sync)),
        format_rate(limits.loopback),
        time(seconds(limits.round_trip))
    )
}
