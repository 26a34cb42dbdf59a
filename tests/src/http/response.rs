//! [`Response`]: an answer, parsed as little as possible.

use serde_json::Value;

/// Status line and headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The first line, without its end: `HTTP/1.1 200 OK`.
    pub status_line: String,
    /// The status.
    pub status: u16,
    /// Names and values in the order of arrival.
    pub headers: Vec<(String, String)>,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Complete, according to its framing.
    Whole,
    /// The connection ended before the body was complete.
    Cut,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status line and headers.
    pub head: Head,
    /// The body, with chunks put together.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub ending: Ending,
    /// Statuses of the preceding 1xx answers.
    pub interim: Vec<u16>,
}

impl Head {
    /// The value of a header, by its name in any letter case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// The value of a header that is a number.
    ///
    /// # Panics
    /// When the header is missing or is not a number.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name}: {value} is not a number"))
    }
}

impl Response {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.shown()))
    }

    /// The `code` of an error, or the empty string.
    #[must_use]
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Checks that the answer is complete and has this status.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status(), status, "{}", self.shown());
        assert_eq!(self.ending, Ending::Whole, "{}", self.shown());
        self
    }

    /// Checks that the answer is this error.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Response {
        assert_eq!((self.status(), self.code().as_str()), (status, code), "{}", self.shown());
        self
    }

    /// The whole answer, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = format!("{}\n", self.head.status_line);
        for (name, value) in &self.head.headers {
            shown.push_str(&format!("{name}: {value}\n"));
        }
        let body = &self.body[..self.body.len().min(2000)];
        shown.push_str(&format!("\n{}\n({} bytes, ", body.escape_ascii(), self.body.len()));
        shown.push_str(&format!("{:?}, after {:?})", self.ending, self.interim));
        shown
    }
}
