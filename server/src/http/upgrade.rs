//! Upgrade requests: selects the front end and sends the 101.
//!
//! The log is already open. A refused request gets an ordinary error answer; an
//! accepted one fills the connection's [`UpgradeSlot`].

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use styx_protocol::Code;
use tracing::Instrument as _;

use super::answer::{self, Answer};
use super::trace::Trace;
use super::{Call, authorize};
use crate::handover::{FrontEnd, PendingUpgrade, Serve, UpgradeRequest, UpgradeSlot};
use crate::header;
use crate::limits::ConnectionPlace;
use crate::session::{Error, KnownLog, OpenLog};

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// The start of the names of all versions of the stream protocols.
const STYX_FAMILY: &str = "styx/";

/// The protocols of this server that a request asks for; `None` if it asks for none.
///
/// Every version of `styx/` counts, so that a client learns which versions there are.
/// Other protocols are ignored, as RFC 9110, section 7.8 allows: Apache HttpClient, for
/// example, offers `TLS/1.2` with every request.
pub(super) fn wanted(headers: &HeaderMap, front_ends: &[Box<dyn FrontEnd>]) -> Option<String> {
    let is_known = |protocol: &str| {
        let family = protocol.get(..STYX_FAMILY.len()).unwrap_or_default();
        family.eq_ignore_ascii_case(STYX_FAMILY)
            || front_ends.iter().any(|front_end| front_end.speaks(protocol))
    };
    let mut connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let wants = connection
        .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case("upgrade")));
    let protocols: Vec<&str> = headers
        .get_all(UPGRADE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| is_known(protocol))
        .collect();
    (wants && !protocols.is_empty()).then(|| protocols.join(", "))
}

/// The front end that an upgrade to one of these protocols gets.
pub(super) fn spoken<'f>(
    protocols: &str,
    front_ends: &'f [Box<dyn FrontEnd>],
) -> Option<&'f dyn FrontEnd> {
    let mut protocols = protocols.split(", ");
    let found = protocols
        .find_map(|protocol| front_ends.iter().find(|front_end| front_end.speaks(protocol)));
    found.map(|front_end| &**front_end)
}

/// Whether the request writes, by its method or by `X-HTTP-Method-Override`.
fn is_write(head: &Parts) -> Result<bool, Error> {
    let (shown, accepted) = ("X-HTTP-Method-Override", "POST");
    let overridden = header::checked_text(&head.headers, &METHOD_OVERRIDE, shown, accepted)?;
    Ok(head.method == Method::POST
        || overridden.is_some_and(|method| method.eq_ignore_ascii_case("POST")))
}

/// Whether the request asks for a stream that writes. A request that is no upgrade reads,
/// because a `GET` never appends by itself.
///
/// # Errors
/// The request will be refused, because its direction cannot be parsed.
pub(super) fn writes(head: &Parts, front_ends: &[Box<dyn FrontEnd>]) -> Result<bool, Error> {
    let Some(protocols) = wanted(&head.headers, front_ends) else { return Ok(false) };
    match spoken(&protocols, front_ends) {
        Some(front_end) => front_end.writes(is_write(head)?, head.uri.query().unwrap_or_default()),
        None => Ok(false),
    }
}

/// Answers a request for `protocols`.
pub(super) async fn upgrade(
    call: &mut Call<'_>,
    (log, known): (OpenLog, KnownLog),
    protocols: &str,
    place: Option<ConnectionPlace>,
) -> Result<Answer, Error> {
    let front_ends = &call.http.front_ends;
    let front_end = spoken(protocols, front_ends);
    let (Some(front_end), Some(slot)) = (front_end, call.head.extensions.remove::<UpgradeSlot>())
    else {
        return Ok(unknown(protocols, front_ends));
    };
    if !front_end.supports_version(call.headers()) {
        return Ok(unknown_version(front_end));
    }
    check_origin(call)?;
    if has_body(call.headers()) {
        let message = "an upgrade request must not have a body; send records after the 101";
        return Err(Error::new(Code::InvalidParams, message));
    }
    let request = UpgradeRequest {
        app: call.app.clone(),
        log,
        known,
        is_write: is_write(call.head)?,
        headers: call.headers().clone(),
        query: call.query().to_owned(),
        access: call.access.clone(),
        name: call.name.clone(),
        peer: authorize::peer(call.head),
    };
    let accepted = front_end.accept(request).await?;
    let serve = traced(accepted.serve, call.headers());
    let serve = match place {
        Some(place) => held_while(place, serve),
        None => serve,
    };
    let Some(on_upgrade) = call.head.extensions.remove::<OnUpgrade>() else {
        return Ok(unknown(protocols, front_ends));
    };
    call.opened_stream = Some(front_end.name());
    slot.put(PendingUpgrade { protocol: front_end.name(), on_upgrade, serve });
    let mut answer = answer::empty();
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = accepted.headers;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    Ok(answer)
}

/// Keeps a place among the connections while the stream is served.
fn held_while(place: ConnectionPlace, serve: Serve) -> Serve {
    Box::new(move |socket| {
        Box::pin(async move {
            serve(socket).await;
            drop(place);
        })
    })
}

/// Adds the trace of the handshake to the lines of the log about its stream.
fn traced(serve: Serve, headers: &HeaderMap) -> Serve {
    let Trace { trace_id: Some(trace_id), parent_id } = Trace::of(headers) else { return serve };
    let span = tracing::error_span!("stream", trace_id, parent_id);
    Box::new(move |socket| Box::pin(serve(socket).instrument(span)))
}

fn check_origin(call: &Call<'_>) -> Result<(), Error> {
    match call.headers().get(ORIGIN) {
        Some(origin) if !call.http.cors.allows(origin) => {
            let shown: String =
                String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
            let message =
                format!("the origin {shown:?} is not allowed; add it to cors_allowed_origins");
            Err(Error::new(Code::Forbidden, message))
        }
        _ => Ok(()),
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = header::text(headers, &CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// The answer if no front end speaks any of the protocols, or this connection cannot
/// be upgraded.
fn unknown(protocols: &str, front_ends: &[Box<dyn FrontEnd>]) -> Answer {
    let shown: String = protocols.chars().take(40).collect();
    let known: Vec<_> = front_ends.iter().map(|front_end| front_end.name()).collect();
    let known = known.join(", ");
    let message = format!(
        "cannot upgrade this connection to {shown:?}; use HTTP/1.1 and one of {known}, \
         or plain HTTP requests"
    );
    let mut answer = upgrade_required(message, &known);
    for front_end in front_ends {
        answer.headers_mut().extend(front_end.versions());
    }
    answer
}

fn unknown_version(front_end: &dyn FrontEnd) -> Answer {
    let (name, versions) = (front_end.name(), front_end.versions());
    let shown: Vec<String> = versions
        .iter()
        .map(|(header, value)| format!("{header}: {}", value.to_str().unwrap_or_default()))
        .collect();
    let message = format!("this version of {name} is not supported; use {}", shown.join(", "));
    let mut answer = upgrade_required(message, name);
    answer.headers_mut().extend(versions);
    answer
}

fn upgrade_required(message: String, known: &str) -> Answer {
    let mut answer = answer::of_error(&Error::new(Code::InvalidParams, message), None);
    *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = answer.headers_mut();
    if let Ok(known) = HeaderValue::from_str(known) {
        headers.insert(UPGRADE, known);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    answer
}
