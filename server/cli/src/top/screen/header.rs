//! The header: five lines about the server.

use super::super::format::{bytes, count, span, sparkline, time};
use super::super::sample::Sample;
use super::super::state::{Link, State};
use super::{Line, Look, Screen};

const BARS: usize = 30;

pub(super) fn lines(screen: &Screen, state: &State, width: usize) -> Vec<Line> {
    let Some(server) = &state.server else {
        return vec![(format!("styx top: asking {}", screen.address), Look::Plain)];
    };
    let title = format!("styx {} at {}", server.version, screen.address);
    let interval = screen.interval.as_secs_f64();
    let about = format!("up {}  {}  every {interval} s", span(server.uptime_us), time(server.time));
    let total = state.meter.total();
    let rate = |what, records: f64, written: f64, history| {
        let (records, written) = (count(records), bytes(written));
        let bars = sparkline(history, BARS);
        format!("{what} {records:>7} records/s {written:>8}/s  {bars}")
    };
    vec![
        (both_ends(&title, &about, width), Look::Strong),
        (
            rate("append", total.appended, total.written_bytes, state.meter.appended.iter()),
            Look::Bars,
        ),
        (rate("read  ", total.read, total.read_bytes, state.meter.read.iter()), Look::Bars),
        (resources(server, state), Look::Plain),
        state_line(server, state),
    ]
}

fn resources(server: &Sample, state: &State) -> String {
    let connections = &server.connections;
    let streams = server.streams.iter().filter(|(_, open)| **open > 0);
    let streams: Vec<_> = streams.map(|(protocol, open)| format!("{protocol} {open}")).collect();
    let streams = match streams.is_empty() {
        true => String::new(),
        false => format!(" ({})", streams.join(", ")),
    };
    let free = server.disk.free_bytes.map_or("?".to_owned(), |free| bytes(free as f64));
    let used: u64 = state.rows().iter().map(|row| row.log.disk_bytes).sum();
    format!(
        "{} logs, {} on disk, {free} free  connections {} of {}{streams}",
        state.log_count(),
        bytes(used as f64),
        connections.open,
        count(connections.max as f64),
    )
}

/// The failure of the connection, or the gravest warning.
fn state_line(server: &Sample, state: &State) -> Line {
    if let Link::Lost { message, attempts } = &state.link {
        let text = format!("NO ANSWER ({attempts}), trying again; numbers are old: {message}");
        return (text, Look::Alarm);
    }
    match server.warnings.as_slice() {
        [] => (String::new(), Look::Plain),
        [only] => (format!("! {}", only.message), Look::Warning),
        [first, rest @ ..] => {
            (format!("! {} more warnings, and: {}", rest.len(), first.message), Look::Warning)
        }
    }
}

/// A text at each end of the line. The right one is left out if there is no place for it.
fn both_ends(left: &str, right: &str, width: usize) -> String {
    let left_width = left.chars().count();
    let room = width.saturating_sub(left_width + 1);
    if right.chars().count() > room { left.to_owned() } else { format!("{left} {right:>room$}") }
}
