//! Answers on connections that are not served: 503 when there are too many, 400 when one
//! side speaks TLS and the other does not.

use crate::transport::Transport;

/// The message of the answer.
pub(super) const MESSAGE: &str = "too many connections are open; try again shortly";
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
Content-Type: application/json\r\n\
Content-Length: 92\r\n\
Retry-After: 1\r\n\
Connection: close\r\n\
\r\n\
{\n  \"code\": \"overloaded\",\n  \"message\": \"too many connections are open; try again shortly\"\n}\n";

/// The answer to a request without TLS at a port with TLS.
pub(super) const NEEDS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Content-Type: application/json\r\n\
Content-Length: 105\r\n\
Connection: close\r\n\
\r\n\
{\n  \"code\": \"invalid_params\",\n  \"message\": \"this port speaks TLS; use https:// or styxs:// in the URL\"\n}\n";

/// The answer to a TLS handshake at a port without TLS.
pub(super) const HAS_NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Content-Type: application/json\r\n\
Content-Length: 111\r\n\
Connection: close\r\n\
\r\n\
{\n  \"code\": \"invalid_params\",\n  \"message\": \"this port does not speak TLS; use http:// or styx:// in the URL\"\n}\n";

/// Answers 503. The caller then closes the connection at once, so the answer may be lost
/// if the peer has already sent something; waiting would need a descriptor.
pub(super) fn refuse(transport: &Transport) {
    transport.send_blindly(ANSWER);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_of_the_answers_is_correct() {
        for answer in [ANSWER, NEEDS_TLS, HAS_NO_TLS] {
            let text = std::str::from_utf8(answer).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let length = format!("Content-Length: {}\r\n", body.len());
            assert!(head.contains(&length), "{length}: {head}");
        }
        assert!(String::from_utf8_lossy(ANSWER).contains(MESSAGE));
    }
}
