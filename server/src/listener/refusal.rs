//! Refuses a connection that sends no request when there are too many: 503, then close.

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

/// Answers 503. The caller then closes the connection at once, so the answer may be lost
/// if the peer has already sent something; waiting would need a descriptor.
pub(super) fn refuse(transport: &Transport) {
    transport.send_blindly(ANSWER);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_of_the_answer_is_correct() {
        let text = std::str::from_utf8(ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        assert!(body.contains(MESSAGE), "{body}");
    }
}
