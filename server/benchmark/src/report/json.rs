//! The report of a run as JSON. Rates are per second, times are in seconds, memory is
//! in bytes.

use serde_json::{Map, Value, json};

use super::Report;
use crate::machine::{Limit, Limits};
use crate::outcome::{Bound, Figure, Unit};
use crate::reference_limits::MeasuredCase;

pub(super) fn of(report: &Report) -> Value {
    let c = &report.conditions;
    let moved = report.before.largest_change(&report.after, &Limit::ALL);
    let (limit, share) = moved.unwrap_or_default();
    json!({
        "styx": c.version,
        "server": c.server,
        "alone": c.server_is_child,
        "directory": c.directory,
        "filesystem": c.filesystem,
        "kernel": c.kernel,
        "cores": c.cores,
        "memory_bytes": c.memory_bytes,
        "date": c.date,
        "parameters": {
            "rounds": c.rounds,
            "seconds": c.seconds.as_secs_f64(),
            "warm_up_seconds": c.warm_up.as_secs_f64(),
            "rate": c.rate,
        },
        "limits": { "before": limits(&report.before), "after": limits(&report.after) },
        "moved_most": { "limit": limit, "share": share },
        "quick": c.quick,
        "valid": !c.quick && report.invalid().is_none(),
        "results": report.outcomes.iter().map(measured).collect::<Vec<_>>(),
    })
}

fn limits(limits: &Limits) -> Value {
    json!({
        "disk": limits.disk,
        "disk_is_direct": limits.disk_is_direct,
        "read": limits.read,
        "read_way": limits.read_way,
        "sync": limits.sync.as_secs_f64(),
        "loop": limits.loopback,
        "trip": limits.round_trip.as_secs_f64(),
    })
}

/// One limit of a case, right before and right after it.
fn limit_of_case(limit: Limit, before: &Limits, after: &Limits) -> (String, Value) {
    let value = json!({ "before": before.value(limit), "after": after.value(limit) });
    (limit.name().to_lowercase(), value)
}

fn measured(measured: &MeasuredCase) -> Value {
    let MeasuredCase { case, outcome, before, after } = measured;
    let mean = measured.limits();
    json!({
        "workload": outcome.workload,
        "protocol": outcome.protocol.map(|protocol| protocol.to_string()),
        "payload": outcome.payload.map(|kind| kind.to_string()),
        "load": outcome.load,
        "written": outcome.written,
        "checked": outcome.checked,
        "figures": outcome.figures.iter().map(|f| figure(f, &mean)).collect::<Vec<_>>(),
        "limits": case
            .limits()
            .iter()
            .map(|limit| limit_of_case(*limit, before, after))
            .collect::<Map<_, _>>(),
        "counts": measured.invalid().is_none(),
        "notes": outcome.notes,
    })
}

fn figure(figure: &Figure, limits: &Limits) -> Value {
    let unit = match figure.unit {
        Unit::Records => "records/s",
        Unit::Requests => "requests/s",
        Unit::Seconds => "s",
        Unit::SecondsPerGib => "s/GiB",
        Unit::Bytes => "bytes",
        Unit::Ratio => "ratio",
    };
    let bare = match figure.bound {
        Some(Bound::HttpBaseline(rate)) => Some(rate),
        _ => None,
    };
    let plain = match figure.bound {
        Some(Bound::Plain(rate)) => Some(rate),
        _ => None,
    };
    json!({
        "name": figure.name,
        "unit": unit,
        "median": figure.rounds.median(),
        "low": figure.rounds.low(),
        "high": figure.rounds.high(),
        "rounds": figure.rounds.all(),
        "bytes_per_second": figure.bytes_per_second(),
        "limit": figure.bound.map(Bound::name),
        "bare": bare,
        "plain": plain,
        "share": figure.share(limits),
    })
}
