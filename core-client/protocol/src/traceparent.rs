//! [`TraceParent`]: the header `traceparent` of the W3C recommendation Trace Context.
//!
//! ```text
//! 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//! version      trace id               parent id     flags
//! ```
//!
//! Invariant: the ids of a parsed value are lower-case hex digits and not all zeros, so they are safe
//! in a line of a log.

/// A place in a trace: which trace a request belongs to, and which of its spans sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// The trace, 32 hex digits.
    pub trace_id: &'a str,
    /// The span that sent the request, 16 hex digits.
    pub parent_id: &'a str,
}

/// The length in version `00`, and of the part that later versions keep.
const LEN: usize = 55;

impl<'a> TraceParent<'a> {
    /// Parses a value. `None` if it is not valid; then a server must ignore it. A value of a later
    /// version may be longer, and its known part is used.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<TraceParent<'a>> {
        let (known, rest) = text.split_at_checked(LEN)?;
        let mut parts = known.split('-');
        let version = parts.next().filter(|part| is_hex(part, 2) && *part != "ff")?;
        let trace_id = parts.next().filter(|part| is_id(part, 32))?;
        let parent_id = parts.next().filter(|part| is_id(part, 16))?;
        let has_flags = parts.next().is_some_and(|part| is_hex(part, 2));
        let is_whole = rest.is_empty() || version != "00" && rest.starts_with('-');
        (has_flags && parts.next().is_none() && is_whole)
            .then_some(TraceParent { trace_id, parent_id })
    }
}

fn is_hex(part: &str, len: usize) -> bool {
    part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(part: &str, len: usize) -> bool {
    is_hex(part, len) && part.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn valid_values_have_a_trace_and_a_parent() {
        let expected = Some(TraceParent { trace_id: TRACE, parent_id: PARENT });
        for text in [
            format!("00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-00"),
            format!("00-{TRACE}-{PARENT}-ff"),
            // A later version may add fields.
            format!("01-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
            format!("fe-{TRACE}-{PARENT}-01-"),
        ] {
            assert_eq!(TraceParent::parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_values_are_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-0g"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("01-{TRACE}-{PARENT}-01more"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}{PARENT}-0-01"),
            "ü".repeat(40),
            "-".repeat(55),
        ] {
            assert_eq!(TraceParent::parse(&text), None, "{text:?}");
        }
    }
}
