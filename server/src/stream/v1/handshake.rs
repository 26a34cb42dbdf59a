//! The parts of the 101 that producers and consumers share.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};
use styx_protocol::Codecs;

use crate::handover::UpgradeRequest;
use crate::header;
use crate::peer::HeartbeatTimeouts;
use crate::session::Error;

/// The codecs that a request offers.
///
/// # Errors
/// A header is not text.
pub(super) fn codecs(request: &UpgradeRequest) -> Result<Codecs, Error> {
    let mut named = Vec::new();
    for value in request.headers.get_all(&header::FEATURES) {
        named.push(value.to_str().map_err(|_| {
            let shown = String::from_utf8_lossy(value.as_bytes());
            Error::invalid("X-Styx-Features", &shown, "names of features, such as lz4")
        })?);
    }
    // Several headers mean the same as one with all of their values.
    Ok(Codecs::from_features(&named.join(",")))
}

/// The headers of every 101: the log's identity and range, and our timeout.
pub(super) fn headers(
    request: &UpgradeRequest,
    timeouts: HeartbeatTimeouts,
    granted: Codecs,
) -> HeaderMap {
    let log = &request.log;
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(UPGRADE, HeaderValue::from_static("styx/1"));
    headers.insert(header::TIMEOUT, HeaderValue::from(timeouts.ours.as_secs()));
    headers.insert(header::LOG_ID, header::of_id(log.id()));
    let (start, end) = (log.start_position(), log.end_position());
    header::put_range(&mut headers, start, end, log.archived_position());
    if let Some(granted) =
        HeaderValue::from_str(&granted.to_string()).ok().filter(|value| !value.is_empty())
    {
        headers.insert(header::FEATURES, granted);
    }
    headers
}
