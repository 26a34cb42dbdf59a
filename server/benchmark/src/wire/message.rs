//! [`Parsed`]: the first message of received bytes, for each protocol. Nothing is copied.

/// The message at the start of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed<'b> {
    /// The message is incomplete.
    Incomplete,
    /// A record, and the length of its message.
    Record(&'b [u8], usize),
    /// An ack: the number of durable records, and the length of the message. The number
    /// is a total or an increment, depending on the protocol.
    Durable(u64, usize),
    /// A message without records or acks, and its length.
    Other(usize),
    /// The server ended the stream.
    End,
    /// An error of the server, or bytes that are not valid here.
    Invalid(&'static str),
}

/// A message of styx/0. Acks contain the total number of durable records.
pub(super) fn styx0(bytes: &[u8]) -> Parsed<'_> {
    const ACK_BYTES: usize = 18;
    match bytes {
        [0, 1, a, b, c, d, rest @ ..] => {
            record(rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 6)
        }
        [0, 1, ..] | [_] | [] => Parsed::Incomplete,
        [0, 2, rest @ ..] => match rest.get(8..).and_then(<[u8]>::first_chunk) {
            Some(count) => Parsed::Durable(u64::from_be_bytes(*count), ACK_BYTES),
            None => Parsed::Incomplete,
        },
        [0, 3, ..] => Parsed::Other(2),
        [0, 4, ..] => Parsed::Invalid("the server sent an error over styx/0"),
        _ => Parsed::Invalid("the server sent a styx/0 message of unknown type"),
    }
}

/// A WebSocket frame from a server. Acks contain the number of records since the last ack.
pub(super) fn websocket(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, rest @ ..] = bytes else { return Parsed::Incomplete };
    let (len, head) = match (second, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, rest) => match rest.first_chunk() {
            Some(len) => (u64::from_be_bytes(*len), 10),
            None => return Parsed::Incomplete,
        },
        (126, _) => return Parsed::Incomplete,
        (len, _) => (u64::from(*len), 2),
    };
    let message = record(bytes.get(head..).unwrap_or_default(), len, head);
    let Parsed::Record(payload, used) = message else { return message };
    match first {
        0x82 => message,
        0x81 => match count_of(payload) {
            Some(count) => Parsed::Durable(count, used),
            None => Parsed::Invalid("the server sent a text message that is not an ack"),
        },
        0x88 if payload == [3, 232] || payload.is_empty() => Parsed::End,
        0x88 => Parsed::Invalid("the server closed the WebSocket with an error"),
        0x89 | 0x8A => Parsed::Other(used),
        _ => Parsed::Invalid("the server sent a WebSocket frame of unknown type"),
    }
}

/// One record of binary-records.
pub(super) fn binary_record(bytes: &[u8]) -> Parsed<'_> {
    match bytes {
        [a, b, c, d, rest @ ..] => record(rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 4),
        _ => Parsed::Incomplete,
    }
}

#[inline]
fn record(rest: &[u8], len: u64, head: usize) -> Parsed<'_> {
    match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
        Some(payload) => Parsed::Record(payload, head + payload.len()),
        None => Parsed::Incomplete,
    }
}

/// The value of `count` in `{"position":P,"count":C}`.
fn count_of(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.split("\"count\":").nth(1)?;
    digits.trim_end_matches('}').trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a complete message is parsed and that every prefix is incomplete.
    fn check(parse: fn(&[u8]) -> Parsed<'_>, bytes: &[u8], expected: Parsed<'_>) {
        let mut more = bytes.to_vec();
        more.extend_from_slice(b"what follows");
        assert_eq!(parse(&more), expected, "{bytes:?}");
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), Parsed::Incomplete, "{bytes:?} cut at {len}");
        }
    }

    #[test]
    fn complete_messages_are_parsed_and_prefixes_are_incomplete() {
        check(styx0, b"\0\x01\0\0\0\x02ab", Parsed::Record(b"ab", 8));
        check(styx0, b"\0\x02\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x07", Parsed::Durable(7, 18));
        check(styx0, b"\0\x03", Parsed::Other(2));
        check(websocket, b"\x82\x02ab", Parsed::Record(b"ab", 4));
        check(websocket, b"\x89\x00", Parsed::Other(2));
        check(websocket, b"\x81\x1b{\"position\":12,\"count\":345}", Parsed::Durable(345, 29));
        check(websocket, b"\x88\x02\x03\xe8", Parsed::End);
        check(binary_record, b"\0\0\0\x02ab", Parsed::Record(b"ab", 6));
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        check(websocket, &long, Parsed::Record(&[7; 256], 260));
        let longer = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat();
        assert_eq!(websocket(&longer), Parsed::Record(&[7; 65_536], 65_546));
    }

    #[test]
    fn errors_and_unknown_messages_are_invalid() {
        for (parse, bytes) in [
            (styx0 as fn(&[u8]) -> Parsed<'_>, &b"\0\x04\0\0"[..]),
            (styx0, b"\x01\0"),
            (websocket, b"\x88\x02\x0f\xb4"),
            (websocket, b"\x81\x02ab"),
            (websocket, b"\x02\x01a"),
        ] {
            assert!(matches!(parse(bytes), Parsed::Invalid(_)), "{bytes:?}");
        }
    }
}
