//! Answers about the server itself.

use http::HeaderValue;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use styx_protocol::handshake::Protocol;
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
use styx_protocol::{Code, Codec, LogStatus};

use super::answer::{self, Answer, AnswerBody};
use super::{Call, openapi};
use crate::auth::Action;
use crate::params;
use crate::session::Error;

/// `GET /health/…` of a healthy server.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /health/ready` of a server that has opened its logs.
#[derive(Debug, Serialize)]
struct Readiness {
    /// `degraded` if there is a log that is not `ok`.
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<UnhealthyLog>,
}

/// A log that is not `ok`.
#[derive(Debug, Serialize)]
struct UnhealthyLog {
    name: String,
    status: LogStatus,
}

/// `GET /version`.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    /// The protocols and codecs that a client may use, and more in later versions.
    features: &'static [&'static str],
    limits: Limits,
}

/// The limits of every log.
#[derive(Debug, Serialize)]
struct Limits {
    /// The largest `max_record_size` with which a log can be created.
    max_record_size: usize,
    /// The most bytes of records in a block, and so in an atomic append.
    max_block_size: usize,
}

const FEATURES: &[&str] = &[
    Protocol::Styx0.token(),
    Protocol::Styx1.token(),
    "websocket",
    Codec::Lz4.as_str(),
    Codec::Zstd.as_str(),
];

pub(super) fn metrics(call: &Call<'_>) -> Result<Answer, Error> {
    let text =
        call.app.metrics.text(&call.app.sessions, |log| call.access.allows(Action::Observe, log));
    let mut answer = Response::new(AnswerBody::Whole(text.into()));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(answer)
}

pub(super) fn live() -> Result<Answer, Error> {
    Ok(answer::json(&Health { status: "ok" }))
}

pub(super) fn ready(call: &Call<'_>) -> Result<Answer, Error> {
    if call.app.shutdown.has_begun() {
        return Err(Error::new(Code::ShuttingDown, "the server is stopping"));
    }
    if !call.app.sessions.is_open() {
        let mut error =
            Error::new(Code::LogNotAvailable, "logs are still being opened; ask again in 1 s");
        error.retry_after = Some(1);
        return Err(error);
    }
    let is_strict = params::flag(call.query(), "strict")?.unwrap_or(false);
    let logs = call.app.sessions.list().into_iter().filter(|log| log.status != LogStatus::Ok);
    let mut logs: Vec<_> =
        logs.map(|log| UnhealthyLog { name: log.name, status: log.status }).collect();
    let unhealthy = logs.len();
    // The status is for everybody, but names are not.
    logs.retain(|log| call.access.allows(Action::Observe, &log.name));
    match logs.first() {
        _ if unhealthy == 0 => Ok(answer::json(&Readiness { status: "ok", logs })),
        // One bad log must not take the server out of its load balancer.
        _ if !is_strict => Ok(answer::json(&Readiness { status: "degraded", logs })),
        Some(UnhealthyLog { name, status }) => {
            let message = format!(
                "{unhealthy} of the logs are not ok, such as {name}, which is {status}; \
                 ask without `strict` for all of them"
            );
            Err(Error::new(Code::LogNotAvailable, message))
        }
        None => {
            let message = format!(
                "{unhealthy} of the logs are not ok; ask with a token that has a grant observe:LOG \
                 for their names"
            );
            Err(Error::new(Code::LogNotAvailable, message))
        }
    }
}

pub(super) fn version(call: &Call<'_>) -> Result<Answer, Error> {
    let limits = Limits {
        max_record_size: call.app.config.max_log_record_size,
        max_block_size: BLOCK_RAW_BYTES_MAX,
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(answer::json(&Version { version, features: FEATURES, limits }))
}

pub(super) fn openapi() -> Result<Answer, Error> {
    Ok(answer::json(openapi::document()))
}
