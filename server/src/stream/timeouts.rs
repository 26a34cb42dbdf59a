//! The timeouts that a handshake agrees on.

use std::time::Duration;

use styx_protocol::limits::STREAM_TIMEOUT_SECONDS_MIN;

use crate::handover::UpgradeRequest;
use crate::header;
use crate::peer::HeartbeatTimeouts;
use crate::session::Error;

const TIMEOUT_MIN: Duration = Duration::from_secs(STREAM_TIMEOUT_SECONDS_MIN);
/// Longer timeouts are cut to this, so that adding one to a time cannot overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The timeouts of a handshake; the 101 has to announce ours.
///
/// # Errors
/// The request's timeout is not a number of seconds, or too small.
pub(super) fn negotiate(request: &UpgradeRequest) -> Result<HeartbeatTimeouts, Error> {
    let ours = request.app.config.tcp_timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
    let peers = header::stream_timeout(&request.headers)?.unwrap_or(ours).min(TIMEOUT_MAX);
    Ok(HeartbeatTimeouts { ours, peers })
}
