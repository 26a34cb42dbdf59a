//! Answers about the server itself.

use http::HeaderValue;
use http::Response;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use styx_protocol::Code;

use super::answer::{self, Answer, AnswerBody};
use super::{Call, openapi};
use crate::session::Error;

/// `GET /health/…` of a healthy server.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /version`.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

pub(super) fn metrics(call: &Call<'_>) -> Result<Answer, Error> {
    let text = call.app.metrics.text(&call.app.sessions);
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
    Ok(answer::json(&Health { status: "ok" }))
}

pub(super) fn version() -> Result<Answer, Error> {
    Ok(answer::json(&Version { version: env!("CARGO_PKG_VERSION") }))
}

pub(super) fn openapi() -> Result<Answer, Error> {
    Ok(answer::json(openapi::document()))
}
