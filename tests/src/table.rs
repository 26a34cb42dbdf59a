//! [`Table`]: requests in order, each with the answer it must get.
//!
//! All rows run before the test fails, so that one run shows every difference.

use std::collections::BTreeSet;

use crate::http::Ending;
use crate::{Request, Response, TestServer};

/// The requirements for an answer. Made by [`gives`] or [`error`].
#[derive(Debug, Clone)]
pub struct Wanted {
    status: u16,
    headers: Vec<(String, Option<String>)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Any,
    Bytes(Vec<u8>),
    Error { code: String, says: Vec<String>, fields: Vec<(String, String)> },
}

/// An answer with this status.
#[must_use]
pub fn gives(status: u16) -> Wanted {
    Wanted { status, headers: Vec::new(), body: Body::Any }
}

/// An error answer: `{"code", "message"}`, indented by two spaces, and no more.
#[must_use]
pub fn error(status: u16, code: &str) -> Wanted {
    let body = Body::Error { code: code.into(), says: Vec::new(), fields: Vec::new() };
    Wanted { status, headers: Vec::new(), body }.with("Content-Type", "application/json")
}

impl Wanted {
    /// With this header; `*` matches any value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Wanted {
        self.headers.push((name.into(), Some(value.to_string())));
        self
    }

    /// Without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Wanted {
        self.headers.push((name.into(), None));
        self
    }

    /// With exactly this body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Wanted {
        self.body = Body::Bytes(body.as_ref().to_vec());
        self
    }

    /// An error whose message contains this text.
    #[must_use]
    pub fn says(mut self, part: &str) -> Wanted {
        if let Body::Error { says, .. } = &mut self.body {
            says.push(part.to_owned());
        }
        self
    }

    /// An error with this field after its message, as JSON.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl ToString) -> Wanted {
        if let Body::Error { fields, .. } = &mut self.body {
            fields.push((name.to_owned(), value.to_string()));
        }
        self
    }

    /// The differences between this and an answer.
    #[must_use]
    pub fn faults(&self, got: &Response) -> Vec<String> {
        let mut faults = Vec::new();
        if got.status() != self.status {
            faults.push(format!("status {}, not {}", got.status(), self.status));
        }
        if got.ending == Ending::Cut {
            faults.push("the body is cut off".to_owned());
        }
        for (name, required) in &self.headers {
            match (required.as_deref(), got.header(name)) {
                (Some("*"), Some(_)) | (None, None) => {}
                (Some(required), Some(got)) if required == got => {}
                (required, got) => faults.push(format!("{name}: {got:?}, not {required:?}")),
            }
        }
        match &self.body {
            Body::Any => {}
            Body::Bytes(bytes) if *bytes == got.body => {}
            Body::Bytes(bytes) => {
                let shown = &bytes[..bytes.len().min(500)];
                faults.push(format!("body is not: {}", shown.escape_ascii()));
            }
            Body::Error { code, says, fields } => {
                error_faults(got, code, says, fields, &mut faults)
            }
        }
        faults
    }
}

fn error_faults(
    got: &Response,
    code: &str,
    says: &[String],
    fields: &[(String, String)],
    faults: &mut Vec<String>,
) {
    let json: serde_json::Value = serde_json::from_slice(&got.body).unwrap_or_default();
    let message = json["message"].as_str().unwrap_or_default();
    let mut expected =
        format!("{{\n  \"code\": \"{code}\",\n  \"message\": {}", serde_json::json!(message));
    for (name, value) in fields {
        expected.push_str(&format!(",\n  \"{name}\": {value}"));
    }
    expected.push_str("\n}\n");
    if got.body != expected.as_bytes() {
        faults.push(format!("body is not: {}", expected.escape_debug()));
    }
    if message.is_empty() || message.ends_with('.') {
        faults.push(format!("message {message:?} is not a readable sentence"));
    }
    for part in says {
        if !message.contains(part) {
            faults.push(format!("message {message:?} does not contain {part:?}"));
        }
    }
}

/// Sends the rows one after the other and collects the differences.
#[derive(Debug)]
pub struct Table<'a> {
    server: &'a TestServer,
    failures: Vec<String>,
    codes: BTreeSet<String>,
    rows: usize,
}

impl<'a> Table<'a> {
    /// An empty table for this server.
    #[must_use]
    pub fn of(server: &'a TestServer) -> Table<'a> {
        Table { server, failures: Vec::new(), codes: BTreeSet::new(), rows: 0 }
    }

    /// Sends a request, and checks its answer.
    pub fn row(&mut self, name: &str, request: &Request, required: &Wanted) -> Response {
        let got = self.server.ask(request);
        self.judge(name, got, required)
    }

    /// As [`row`](Self::row), for bytes.
    pub fn bytes(&mut self, name: &str, request: &[u8], required: &Wanted) -> Response {
        let got = self.server.ask_bytes(request);
        self.judge(name, got, required)
    }

    fn judge(&mut self, name: &str, got: Response, required: &Wanted) -> Response {
        self.rows += 1;
        self.codes.insert(got.code());
        let faults = required.faults(&got);
        if !faults.is_empty() {
            let shown = got.shown().replace('\n', "\n    ");
            self.failures.push(format!("{name}:\n  {}\n    {shown}\n", faults.join("\n  ")));
        }
        got
    }

    /// The error codes of all answers.
    #[must_use]
    pub fn codes(&self) -> &BTreeSet<String> {
        &self.codes
    }

    /// Ends the table.
    ///
    /// # Panics
    /// When a row got another answer.
    #[track_caller]
    pub fn check(self) {
        let Table { failures, rows, .. } = self;
        assert!(failures.is_empty(), "{} of {rows}:\n{}", failures.len(), failures.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let head = Head { status_line: format!("HTTP/1.1 {status} X"), status, headers };
        Response { head, body: body.into(), ending: Ending::Whole, interim: Vec::new() }
    }

    const JSON: (&str, &str) = ("Content-Type", "application/json");

    #[test]
    fn a_right_answer_has_no_faults() {
        let body = "{\n  \"code\": \"x\",\n  \"message\": \"no \\\"b\\\"\",\n  \"end\": 1\n}\n";
        let required = error(404, "x").says("no \"b\"").field("end", 1).without("Allow");
        assert_eq!(required.faults(&answer(404, &[JSON], body)), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_wrong_is_a_fault() {
        let body = "{\n  \"code\": \"x\",\n  \"message\": \"no b\"\n}\n";
        let good = answer(404, &[JSON], body);
        let faults = |required: Wanted| required.faults(&good).len();
        assert_eq!(faults(error(404, "x")), 0);
        assert_eq!(faults(error(400, "x")), 1);
        assert_eq!(faults(error(404, "y")), 1);
        assert_eq!(faults(error(404, "x").says("c")), 1);
        assert_eq!(faults(error(404, "x").field("end", 1)), 1);
        assert_eq!(faults(gives(404).with("Allow", "*")), 1);
        assert_eq!(faults(gives(404).with("Content-Type", "text/plain")), 1);
        assert_eq!(faults(gives(404).without("Content-Type")), 1);
        assert_eq!(faults(gives(404).body("")), 1);
        let cut = Response { ending: Ending::Cut, ..good.clone() };
        assert_eq!(error(404, "x").faults(&cut).len(), 1);
    }
}
