//! `GET /status`: the whole server in one answer, for `styx top` and scripts.
//!
//! Rates are left to the caller: it subtracts the counters of two answers. Collecting thousands of
//! logs takes milliseconds and may read cursors from the disk, so it runs on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use styx_protocol::handshake::Protocol;
use styx_protocol::{Code, LogStatus};

use super::Call;
use super::answer::{self, Answer};
use crate::app::App;
use crate::auth::Action;
use crate::params;
use crate::session::{Error, LogRow, LogState};

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    /// µs since the epoch.
    time: u64,
    uptime_us: u64,
    connections: Connections,
    streams: BTreeMap<&'static str, i64>,
    memory: Memory,
    disk: Disk,
    warnings: Vec<Warning>,
    logs: Vec<LogRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<LogState>,
}

#[derive(Debug, Serialize)]
struct Connections {
    open: i64,
    max: i64,
    closed_idle: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Memory {
    in_flight_bytes: usize,
    answer_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Disk {
    /// `None` if the system does not tell.
    free_bytes: Option<u64>,
    reserve_bytes: u64,
    is_reserve_reached: bool,
}

/// Something that an operator should look at.
#[derive(Debug, Serialize)]
struct Warning {
    code: &'static str,
    message: String,
}

pub(super) async fn get(call: &mut Call<'_>) -> Result<Answer, Error> {
    let one = params::value(call.query(), "log").map(|name| name.into_owned());
    if let Some(name) = &one {
        call.access.check_named(Action::Observe, name)?;
    }
    let (app, access) = (Arc::clone(call.app), call.access.clone());
    let collect = move || {
        let sessions = &app.sessions;
        let (logs, details) = match one {
            None => (sessions.log_rows(|log| access.allows(Action::Observe, log)), None),
            Some(name) => {
                let log = sessions.log(&name)?;
                (vec![log.row()], Some(log.state()))
            }
        };
        Ok(answer::json(&of_server(&app, logs, details)))
    };
    match tokio::task::spawn_blocking(collect).await {
        Ok(answer) => answer,
        Err(panic) => Err(Error::new(
            Code::UnknownError,
            format!("the request failed because of a bug: {panic}"),
        )),
    }
}

fn of_server(app: &App, logs: Vec<LogRow>, details: Option<LogState>) -> Status {
    let (metrics, sessions) = (&app.metrics, &app.sessions);
    let reserve = sessions.disk_reserve_stats();
    let connections = Connections {
        open: metrics.connections.get(),
        max: metrics.connections_max.get(),
        closed_idle: metrics.connections_closed_idle.get(),
        refused: metrics.connections_refused.get(),
    };
    let protocols = [Protocol::Styx0.token(), Protocol::Styx1.token(), "websocket"];
    let streams = protocols.map(|protocol| (protocol, metrics.streams(protocol).get()));
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Status {
        version: env!("CARGO_PKG_VERSION"),
        time: micros(time),
        uptime_us: micros(app.started.elapsed()),
        warnings: warnings(app, &connections),
        connections,
        streams: streams.into(),
        memory: Memory {
            in_flight_bytes: sessions.request_budget().bytes(),
            answer_bytes: sessions.response_budget().bytes(),
        },
        disk: Disk {
            free_bytes: sessions.free_disk_bytes(),
            reserve_bytes: reserve.bytes,
            is_reserve_reached: reserve.is_reached,
        },
        logs,
        details,
    }
}

/// The warnings, the gravest first. They name no log, because the caller may not see all of them.
fn warnings(app: &App, connections: &Connections) -> Vec<Warning> {
    let sessions = &app.sessions;
    let mut warnings = Vec::new();
    let mut warn = |code, message: String| warnings.push(Warning { code, message });
    if app.shutdown.has_begun() {
        warn("shutting_down", "the server is stopping".to_owned());
    }
    if sessions.disk_reserve_stats().is_reached {
        let message =
            "appends are refused because less than min_free_disk is free: free some space";
        warn("disk_reserve_reached", message.to_owned());
    }
    let statuses: Vec<_> = sessions.list().into_iter().map(|info| info.status).collect();
    let count = |wanted: &[LogStatus]| statuses.iter().filter(|is| wanted.contains(is)).count();
    let broken = count(&[LogStatus::Corrupt, LogStatus::Tainted, LogStatus::Unknown]);
    if broken > 0 {
        let message = format!("{broken} logs are damaged or not usable: see their status");
        warn("logs_not_ok", message);
    }
    let scanning = count(&[LogStatus::Scanning]);
    if scanning > 0 {
        warn("logs_opening", format!("{scanning} logs are still being opened"));
    }
    let problems = sessions.scrub_stats().problems;
    if problems > 0 {
        let message = format!("the scrub has found {problems} damaged segments: run styx verify");
        warn("scrub_problems", message);
    }
    for (reason, _) in sessions.storage().reasons().filter(|(_, is_weak)| *is_weak) {
        let message = format!(
            "acknowledged records may be lost on this storage ({reason}): run styx serve \
             --check-storage"
        );
        warn("storage_weak", message);
    }
    if connections.max > 0 && connections.open >= connections.max {
        let message = format!(
            "all {} connections are in use, and more are refused: raise max_connections",
            connections.max
        );
        warn("connections_full", message);
    }
    let offset_us = sessions.clock_stats().offset_us;
    if offset_us != 0 {
        let message = format!(
            "the system clock has jumped; it differs from the times of new records by {} s",
            offset_us / 1_000_000
        );
        warn("clock_jumped", message);
    }
    warnings
}
