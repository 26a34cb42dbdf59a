//! An answer of HTTP/1.1 at the beginning of some bytes: status and body.

/// An answer whose length its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::benchmark) struct Answer<'b> {
    pub(in crate::benchmark) status: u16,
    pub(in crate::benchmark) body: &'b [u8],
    /// Bytes of all of it.
    pub(in crate::benchmark) bytes: usize,
}

/// What the last head looked like: the next one mostly looks the same.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::benchmark) struct Hint {
    head: usize,
    length_at: usize,
}

/// Takes an answer, or says what is wrong with it; `None` while it is not all
/// there.
pub(in crate::benchmark) fn parse<'b>(
    bytes: &'b [u8],
    hint: &mut Hint,
) -> Result<Option<Answer<'b>>, String> {
    let Some((head, length_at)) = find(bytes, hint)? else { return Ok(None) };
    *hint = Hint { head, length_at };
    let status = number(bytes.get(9..12).unwrap_or_default());
    let length = number(bytes.get(length_at..head).unwrap_or_default());
    let (Some(status), Some(length)) = (status, length) else {
        return Err("an answer of the server cannot be understood".to_owned());
    };
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    Ok(Some(Answer { status: u16::try_from(status).unwrap_or(0), body, bytes: head + length }))
}

const END: &[u8] = b"\r\n\r\n";
const LENGTH: &[u8] = b"content-length: ";

/// Where the head ends and where its length stands.
fn find(bytes: &[u8], hint: &Hint) -> Result<Option<(usize, usize)>, String> {
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
        None => Err("an answer of the server does not say how long it is".to_owned()),
    }
}

/// The digits in front.
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
    fn answers_are_taken_whole_with_and_without_a_hint() {
        let mut hint = Hint::default();
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\na: b\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\na: b\r\n\r\nhey", 200, "hey"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, ""),
        ] {
            for len in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..len], &mut hint), Ok(None), "{text} to {len}");
            }
            let more = format!("{text}HTTP");
            let answer = parse(more.as_bytes(), &mut hint).expect("good").expect("whole");
            assert_eq!(answer, Answer { status, body: body.as_bytes(), bytes: text.len() });
        }
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(parse(chunked, &mut hint).is_err());
    }
}
