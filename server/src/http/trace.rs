//! `traceparent`: the trace that a request belongs to, for the lines of the log about it.
//!
//! The server makes no spans of its own and sends none. A header that is not valid, or that a
//! request has twice, is ignored, as W3C Trace Context requires.

use http::HeaderMap;
use styx_protocol::traceparent::TraceParent;

use crate::header::TRACEPARENT;

/// The fields of a line; each is left out if the request belongs to no trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trace<'h> {
    pub(super) trace_id: Option<&'h str>,
    pub(super) parent_id: Option<&'h str>,
}

impl<'h> Trace<'h> {
    /// The trace of a request with these headers.
    pub(super) fn of(headers: &'h HeaderMap) -> Trace<'h> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Trace::default() };
        let parent = value.to_str().ok().map(str::trim).and_then(TraceParent::parse);
        Trace {
            trace_id: parent.map(|parent| parent.trace_id),
            parent_id: parent.map(|parent| parent.parent_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_that_occurs_twice_is_ignored() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(Trace::of(&headers), Trace::default());
        headers.append(TRACEPARENT, HeaderValue::from_static(value));
        let expected = (Some("4bf92f3577b34da6a3ce929d0e0e4736"), Some("00f067aa0ba902b7"));
        let trace = Trace::of(&headers);
        assert_eq!((trace.trace_id, trace.parent_id), expected);
        headers.append(TRACEPARENT, HeaderValue::from_static(value));
        assert_eq!(Trace::of(&headers), Trace::default());
    }
}
