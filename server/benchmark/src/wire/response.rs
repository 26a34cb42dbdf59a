//! [`Response`]: an HTTP/1.1 response at the start of received bytes.

/// A response with a `Content-Length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Response<'b> {
    pub(crate) status: u16,
    pub(crate) body: &'b [u8],
    /// The length of head and body.
    pub(crate) bytes: usize,
}

/// The layout of the last head. The next head usually has the same layout, which saves a
/// search.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeadHint {
    head: usize,
    length_at: usize,
}

/// Parses one response. `None` if it is incomplete.
///
/// # Errors
/// A description of what is wrong with the response.
pub(crate) fn parse<'b>(
    bytes: &'b [u8],
    hint: &mut HeadHint,
) -> Result<Option<Response<'b>>, String> {
    let Some((head, length_at)) = find(bytes, hint)? else { return Ok(None) };
    *hint = HeadHint { head, length_at };
    let status = number(bytes.get(9..12).unwrap_or_default());
    let length = number(bytes.get(length_at..head).unwrap_or_default());
    let (Some(status), Some(length)) = (status, length) else {
        return Err("a response of the server is not valid HTTP".to_owned());
    };
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    Ok(Some(Response { status: u16::try_from(status).unwrap_or(0), body, bytes: head + length }))
}

const END: &[u8] = b"\r\n\r\n";
const LENGTH: &[u8] = b"content-length: ";

/// The end of the head, and the offset of the value of `Content-Length`.
fn find(bytes: &[u8], hint: &HeadHint) -> Result<Option<(usize, usize)>, String> {
    let is_length = |at: usize| {
        let name = at.checked_sub(LENGTH.len()).and_then(|from| bytes.get(from..at));
        name.is_some_and(|name| name.eq_ignore_ascii_case(LENGTH))
    };
    let ends = |at: usize| at >= END.len() && bytes.get(at - END.len()..at) == Some(END);
    if ends(hint.head) && is_length(hint.length_at) {
        return Ok(Some((hint.head, hint.length_at)));
    }
    let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let head = end + END.len();
    match (LENGTH.len()..head).find(|at| is_length(*at)) {
        Some(length_at) => Ok(Some((head, length_at))),
        None => Err("a response of the server has no Content-Length".to_owned()),
    }
}

/// The number at the start of the bytes.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.clone().try_fold(0_usize, |value, digit| {
        value.checked_mul(10)?.checked_add(usize::from(digit - b'0'))
    });
    value.filter(|_| digits.count() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_parsed_with_and_without_a_hint() {
        let mut hint = HeadHint::default();
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\na: b\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\na: b\r\n\r\nhey", 200, "hey"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, ""),
        ] {
            for len in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..len], &mut hint), Ok(None), "{text} to {len}");
            }
            let more = format!("{text}HTTP");
            let response = parse(more.as_bytes(), &mut hint).expect("good").expect("whole");
            assert_eq!(response, Response { status, body: body.as_bytes(), bytes: text.len() });
        }
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(parse(chunked, &mut hint).is_err());
    }
}
