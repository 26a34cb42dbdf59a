//! Requests that want to leave HTTP: WebSocket and the styx streams.
//!
//! The seam for both: they are recognised here, after the log was found, and
//! refused with 426 until their front ends are built.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, StatusCode};
use styx_protocol::Code;

use super::answer::{self, Answer};
use super::header;
use crate::session::Error;

/// The answer to a request that asks for another protocol.
pub(super) fn refusal(headers: &HeaderMap) -> Option<Answer> {
    let protocol = header::text(headers, &UPGRADE)?;
    let mut connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let wanted = connection
        .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case("upgrade")));
    // A client that offers HTTP/2 is content with HTTP/1.1.
    if !wanted || protocol.eq_ignore_ascii_case("h2c") {
        return None;
    }
    let shown: String = protocol.chars().take(40).collect();
    let message = format!(
        "this server does not speak {shown:?} yet: read and write records with plain HTTP requests"
    );
    let mut answer = answer::of_error(&Error::new(Code::InvalidParams, message), None);
    *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
    Some(answer)
}
