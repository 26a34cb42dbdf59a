//! The details of one log as lines of text.

use styx_protocol::LogConfig;

use super::super::format::{bytes, count, span, time};
use super::super::sample::{Details, LogSample};
use super::super::state::State;
use super::{Line, Look};

/// The newest segments that are shown.
const SEGMENTS_MAX: usize = 100;

pub(super) fn lines(name: &str, state: &State) -> Vec<Line> {
    let mut lines = vec![(format!("LOG {name}"), Look::Heading)];
    let found = state.details.as_deref();
    let log = found.and_then(|sample| sample.logs.first());
    let (Some(log), Some(details)) = (log, found.and_then(|sample| sample.details.as_ref())) else {
        let text = match state.rows().iter().any(|row| row.log.name == name) {
            true => "asking the server",
            false => "the server does not have this log any more",
        };
        lines.push((text.to_owned(), Look::Faint));
        return lines;
    };
    let plain = |text| (text, Look::Plain);
    lines.extend(numbers(name, log, details, state).into_iter().map(plain));
    lines.push(("CONFIGURATION".to_owned(), Look::Heading));
    lines.extend(config(details.config).into_iter().map(plain));
    let now = found.map_or(0, |sample| sample.time);
    section(&mut lines, "FOLLOWER", &followers(details, now), details.followers.len());
    match &details.cursors {
        Some(_) => {
            let cursors = cursors(details, now);
            section(&mut lines, "CURSOR", &cursors, cursors.len());
        }
        None => lines.push((
            "CURSORS: their file cannot be read; see the log of the server".to_owned(),
            Look::Alarm,
        )),
    }
    section(&mut lines, "SEGMENT", &segments(details), details.segments.len());
    lines
}

fn numbers(name: &str, log: &LogSample, details: &Details, state: &State) -> Vec<String> {
    let rates = state.meter.rates(name);
    let shown = |us: Option<u64>| us.map_or("none".to_owned(), time);
    vec![
        format!("status {}  id {}", log.status, details.log_id),
        format!(
            "positions {} to {}  records {}",
            log.start_position, log.end_position, log.record_count
        ),
        format!(
            "first record {}  last {}",
            shown(details.timestamp_first),
            shown(details.timestamp_last)
        ),
        format!(
            "append {}/s  {}/s  read {}/s  {}/s",
            count(rates.appended),
            bytes(rates.written_bytes),
            count(rates.read),
            bytes(rates.read_bytes)
        ),
        format!(
            "{} in {} segments  {} wait to be committed",
            bytes(log.disk_bytes as f64),
            log.segments,
            bytes(log.queue_bytes as f64)
        ),
    ]
}

fn config(mut config: LogConfig) -> Vec<String> {
    let values: Vec<_> = LogConfig::FIELDS
        .into_iter()
        .map(|field| {
            let value = config.field_mut(field).map_or(0, |value| *value);
            let value = if value == -1 { "no limit".to_owned() } else { value.to_string() };
            format!("{field} {value}")
        })
        .collect();
    let pairs = values.chunks(2).map(|pair| match pair {
        [left, right] => format!("{left:<36} {right}"),
        one => one.concat(),
    });
    pairs.collect()
}

fn section(lines: &mut Vec<Line>, name: &str, rows: &[String], count: usize) {
    let plural = if count == 1 { "" } else { "S" };
    lines.push((format!("{count} {name}{plural}"), Look::Heading));
    lines.extend(rows.iter().map(|row| (row.clone(), Look::Plain)));
}

fn followers(details: &Details, now: u64) -> Vec<String> {
    let rows = details.followers.iter().map(|follower| {
        format!(
            "{:<12} at {:>12}  behind {:>6}  {:>6}  {} {}",
            follower.protocol,
            follower.position,
            count(follower.lag as f64),
            span(now.saturating_sub(follower.since)),
            follower.peer.as_deref().unwrap_or("unknown address"),
            follower.principal,
        )
    });
    rows.collect()
}

fn cursors(details: &Details, now: u64) -> Vec<String> {
    let cursors = details.cursors.iter().flatten().map(|cursor| {
        let lag = match cursor.lag {
            Some(lag) => format!("behind {:>6}", count(lag as f64)),
            None => "older than the log".to_owned(),
        };
        let age = span(now.saturating_sub(cursor.updated));
        format!("{:<28} at {:>12}  {lag}  set {age} ago", cursor.cursor, cursor.position)
    });
    cursors.collect()
}

fn segments(details: &Details) -> Vec<String> {
    let newest = details.segments.iter().rev().take(SEGMENTS_MAX).map(|segment| {
        let times = match (segment.timestamp_first, segment.timestamp_last) {
            (Some(first), Some(last)) => format!("{} to {}", time(first), time(last)),
            _ => "no records".to_owned(),
        };
        format!(
            "{:>12} to {:>12}  {:>8}  {times}",
            segment.start_position,
            segment.end_position,
            bytes(segment.disk_bytes as f64)
        )
    });
    newest.collect()
}
