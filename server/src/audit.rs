//! The audit log: one line with the target `audit` for each denied request, each management
//! operation, and each stream that is opened or ended because of its token.
//!
//! | field | |
//! |---|---|
//! | `principal` | the token's name, or `anonymous` |
//! | `operation` | such as `delete_log` |
//! | `log` | the name of the log; empty if there is none |
//! | `remote` | the peer's address and port, or `unix:uid=1000` |
//! | `result` | `ok`, or the code of the error |
//!
//! Invariant: a line has no payload, no secret and no query.

use crate::session::Error;
use crate::transport::PeerAddress;

/// What happened.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) principal: &'a str,
    pub(crate) operation: &'static str,
    pub(crate) log: &'a str,
    pub(crate) peer: Option<PeerAddress>,
    /// `ok`, or the code of the error.
    pub(crate) result: &'a str,
    /// The protocol of a stream; empty for a request.
    pub(crate) protocol: &'a str,
    /// Empty if the request had none.
    pub(crate) request_id: &'a str,
    /// The trace of the request, and the span that sent it.
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) parent_id: Option<&'a str>,
}

/// Names of logs in paths may be any text.
const SHOWN_MAX: usize = 255;

impl Event<'_> {
    /// Writes the line.
    pub(crate) fn record(&self) {
        if !tracing::enabled!(target: "audit", tracing::Level::INFO) {
            return;
        }
        let Event { principal, operation, result, protocol, request_id, .. } = self;
        let Event { trace_id, parent_id, .. } = self;
        let log: String = self.log.chars().take(SHOWN_MAX).collect();
        let remote = self.peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::info!(
            target: "audit",
            principal, operation, log, remote, result, protocol, request_id, trace_id, parent_id
        );
    }
}

/// A stream or a long request ended because of its token.
pub(crate) fn stream_ended(principal: &str, log: &str, peer: Option<PeerAddress>, error: &Error) {
    let event = Event {
        principal,
        operation: "end_stream",
        log,
        peer,
        result: error.code.as_str(),
        protocol: "",
        request_id: "",
        trace_id: None,
        parent_id: None,
    };
    event.record();
}
