//! [`Request`]: a request as the exact bytes that are sent.

use std::fmt::Write as _;

use crate::transport;

/// A request with a `Content-Length` body, or one that was written out by hand.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// Any method.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    /// `GET`.
    #[must_use]
    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// `POST`, with an empty body until one is given.
    #[must_use]
    pub fn post(target: &str) -> Request {
        Request::new("POST", target).body([])
    }

    /// `DELETE`.
    #[must_use]
    pub fn delete(target: &str) -> Request {
        Request::new("DELETE", target)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Request {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Sends this body, with its length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// Sends a body of this media type.
    #[must_use]
    pub fn typed(self, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.header("Content-Type", content_type).body(body)
    }

    /// Sends an HTML form.
    #[must_use]
    pub fn form(self, body: &str) -> Request {
        self.typed("application/x-www-form-urlencoded", body)
    }

    /// The method, which decides how the answer ends.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The head alone, with the blank line.
    #[must_use]
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: styx.test\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The complete bytes of the request. Only when tests run again with tokens, it has one.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = transport::authorized(&self.head_bytes());
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}
