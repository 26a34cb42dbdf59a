//! Requests to Styx 0.x get the same responses, byte for byte: `golden/http.json` was
//! recorded from it, and is replayed here in order.
//!
//! `<date>`, `<text>` and `<n>` match anything. The order of headers and additional
//! `X-Styx-*` and `X-Request-Id` headers do not matter. Every other difference must be
//! listed in [`DIFFERENCES`] with its reason, and every listed difference must occur.

use base64::Engine as _;
use serde_json::Value;
use styx_tests::{Response, TestServer};

/// An intended difference.
struct Difference {
    /// The exchange's name.
    exchange: &'static str,
    /// The reason, with the contract's mark.
    reason: &'static str,
    /// Lines of the recorded answer, and the lines now: `""` for none. The
    /// body is one line and begins with `body `.
    edits: &'static [(&'static str, &'static str)],
}

const UNBUFFERED: &[(&str, &str)] =
    &[("", "cache-control: no-cache, no-transform"), ("", "x-accel-buffering: no")];

const DIFFERENCES: &[Difference] = &[
    Difference {
        exchange: "create again",
        reason: "log_exist is 409 [*]",
        edits: &[("HTTP/1.1 400 Bad Request", "HTTP/1.1 409 Conflict")],
    },
    Difference {
        exchange: "wrong method",
        reason: "405 says what is allowed [+]",
        edits: &[("", "allow: GET, POST")],
    },
    Difference {
        exchange: "double slash",
        reason: "repeated slashes are merged, not redirected [+]",
        edits: &[
            ("HTTP/1.1 301 Moved Permanently", "HTTP/1.1 200 OK"),
            ("location: /logs", ""),
            ("content-length: 0", "content-length: 280"),
            ("", "content-type: application/json"),
            ("", "vary: Origin"),
            (
                "body ",
                r#"body [\n  {\n    \"name\": \"cap\",\n    \"status\": \"ok\",\n    \"record_count\": 0,\n    \"file_size\": 0,\n    \"start_position\": 0,\n    \"end_position\": 0\n  },\n  {\n    \"name\": \"cap2\",\n    \"status\": \"ok\",\n    \"record_count\": 0,\n    \"file_size\": 0,\n    \"start_position\": 0,\n    \"end_position\": 0\n  }\n]\n"#,
            ),
        ],
    },
    Difference {
        exchange: "head",
        reason: "405 says what is allowed [+]",
        edits: &[("", "allow: GET, POST")],
    },
    Difference {
        exchange: "head",
        reason: "the length of an error message",
        edits: &[("content-length: 75", "content-length: <n>")],
    },
    Difference {
        exchange: "write lines bad ending",
        reason: "the header's value is named [+]",
        edits: &[(
            r#"body {\n  \"code\": \"unknown_error\",\n  \"message\": \"<text>\"\n}\n"#,
            r#"body {\n  \"code\": \"invalid_params\",\n  \"message\": \"<text>\"\n}\n"#,
        )],
    },
    Difference {
        exchange: "write lines unterminated",
        reason: "a last line without ending is a record [+]",
        edits: &[
            ("HTTP/1.1 500 Internal Server Error", "HTTP/1.1 200 OK"),
            (
                r#"body {\n  \"code\": \"unknown_error\",\n  \"message\": \"<text>\"\n}\n"#,
                r#"body {\n  \"position\": 11,\n  \"count\": 2\n}\n"#,
            ),
        ],
    },
    Difference {
        exchange: "write binary",
        reason: r#"one record more since "write lines unterminated""#,
        edits: &[(
            r#"body {\n  \"position\": 13,\n  \"count\": 3\n}\n"#,
            r#"body {\n  \"position\": 14,\n  \"count\": 3\n}\n"#,
        )],
    },
    Difference {
        exchange: "write binary malformed",
        reason: "malformed_records [+]",
        edits: &[
            ("HTTP/1.1 500 Internal Server Error", "HTTP/1.1 400 Bad Request"),
            (
                r#"body {\n  \"code\": \"unknown_error\",\n  \"message\": \"<text>\"\n}\n"#,
                r#"body {\n  \"code\": \"malformed_records\",\n  \"message\": \"<text>\",\n  \"position\": 0,\n  \"count\": 0\n}\n"#,
            ),
        ],
    },
    Difference {
        exchange: "write too large",
        reason: "record_too_large [+]",
        edits: &[
            ("HTTP/1.1 500 Internal Server Error", "HTTP/1.1 413 Payload Too Large"),
            (
                r#"body {\n  \"code\": \"unknown_error\",\n  \"message\": \"<text>\"\n}\n"#,
                r#"body {\n  \"code\": \"record_too_large\",\n  \"message\": \"<text>\",\n  \"position\": 0,\n  \"count\": 0\n}\n"#,
            ),
        ],
    },
    Difference {
        exchange: "read one",
        reason: "the type of a record is not guessed [+]",
        edits: &[
            ("content-type: text/plain; charset=utf-8", "content-type: application/octet-stream"),
            ("", "x-content-type-options: nosniff"),
        ],
    },
    Difference {
        exchange: "read one, any",
        reason: "the type of a record is not guessed [+]",
        edits: &[
            ("content-type: text/plain; charset=utf-8", "content-type: application/octet-stream"),
            ("", "x-content-type-options: nosniff"),
        ],
    },
    Difference {
        exchange: "read one, json accept",
        reason: "the type of a record is not guessed [+]",
        edits: &[
            ("content-type: text/plain; charset=utf-8", "content-type: application/octet-stream"),
            ("", "x-content-type-options: nosniff"),
        ],
    },
    Difference {
        exchange: "read one bad count",
        reason: "the type of a record is not guessed [+]",
        edits: &[
            ("content-type: text/plain; charset=utf-8", "content-type: application/octet-stream"),
            ("", "x-content-type-options: nosniff"),
        ],
    },
    Difference {
        exchange: "read lines",
        reason: r#"one record more since "write lines unterminated""#,
        edits: &[
            ("content-length: 42", "content-length: 44"),
            (
                r"body hello\nk=v\nbare\none\ntwo\n\nfour\na\nb\nx\nr1\n\n\x00\xff\n",
                r"body hello\nk=v\nbare\none\ntwo\n\nfour\na\nb\nx\ny\nr1\n\n\x00\xff\n",
            ),
        ],
    },
    Difference {
        exchange: "read out of range",
        reason: "out_of_range [+]",
        edits: &[
            ("HTTP/1.1 500 Internal Server Error", "HTTP/1.1 416 Range Not Satisfiable"),
            (
                r#"body {\n  \"code\": \"unknown_error\",\n  \"message\": \"<text>\"\n}\n"#,
                r#"body {\n  \"code\": \"out_of_range\",\n  \"message\": \"<text>\",\n  \"start_position\": 0,\n  \"end_position\": 14\n}\n"#,
            ),
        ],
    },
    Difference {
        exchange: "get after writes",
        reason: r#"one record more since "write lines unterminated""#,
        edits: &[(
            r#"body {\n  \"name\": \"cap\",\n  \"status\": \"ok\",\n  \"record_count\": 13,\n  \"file_size\": 133,\n  \"start_position\": 0,\n  \"end_position\": 13\n}\n"#,
            r#"body {\n  \"name\": \"cap\",\n  \"status\": \"ok\",\n  \"record_count\": 14,\n  \"file_size\": 142,\n  \"start_position\": 0,\n  \"end_position\": 14\n}\n"#,
        )],
    },
    Difference {
        exchange: "cors",
        reason: r#"one record more since "write lines unterminated""#,
        edits: &[(
            r#"body {\n  \"name\": \"cap\",\n  \"status\": \"ok\",\n  \"record_count\": 13,\n  \"file_size\": 133,\n  \"start_position\": 0,\n  \"end_position\": 13\n}\n"#,
            r#"body {\n  \"name\": \"cap\",\n  \"status\": \"ok\",\n  \"record_count\": 14,\n  \"file_size\": 142,\n  \"start_position\": 0,\n  \"end_position\": 14\n}\n"#,
        )],
    },
    Difference {
        exchange: "cors",
        reason: "our headers are exposed [+]",
        edits: &[("", "access-control-expose-headers: <text>")],
    },
    Difference {
        exchange: "long poll empty",
        reason: "proxies must not hold back a long poll [+]",
        edits: UNBUFFERED,
    },
    Difference {
        exchange: "read lines True",
        reason: "proxies must not hold back a long poll [+]",
        edits: UNBUFFERED,
    },
    Difference { exchange: "metrics", reason: "HTTP's own", edits: &[("", "content-length: <n>")] },
];

#[test]
fn recorded_0x_requests_get_the_same_responses() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../golden/http.json")).expect("JSON");
    let server = TestServer::start();
    let mut failures = Vec::new();
    let mut used = 0;
    for exchange in golden.as_array().expect("a list") {
        let name = exchange["name"].as_str().expect("a name");
        let request = request(&bytes(&exchange["request"]));
        let got = shape(&server.ask_bytes(&request));
        let mut recorded_lines = parse(&bytes(&exchange["answer"]));
        if name == "metrics" {
            // The recorded server had other logs. The module `metrics` checks values.
            recorded_lines.retain(|line| !line.starts_with("body "));
        }
        for difference in DIFFERENCES.iter().filter(|d| d.exchange == name) {
            failures.extend(difference.apply(&mut recorded_lines));
            used += 1;
        }
        failures.extend(compare(name, &recorded_lines, &got));
    }
    assert_eq!(used, DIFFERENCES.len(), "a listed difference does not occur in any exchange");
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

impl Difference {
    /// Applies the edits to the recorded response. Returns the edits whose line the
    /// response does not have.
    fn apply(&self, recorded: &mut Vec<String>) -> Vec<String> {
        let mut missing = Vec::new();
        for (old, new) in self.edits {
            match recorded.iter().position(|line| line == old) {
                Some(at) if new.is_empty() => drop(recorded.remove(at)),
                Some(at) => recorded[at] = (*new).to_owned(),
                None if old.is_empty() => recorded.push((*new).to_owned()),
                None => missing.push(format!(
                    "{}: {} is listed for {old:?}, which was not answered",
                    self.exchange, self.reason
                )),
            }
        }
        missing
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => {
            let text = other["base64"].as_str().expect("base64");
            base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
        }
    }
}

/// The recorded request. One body was too long to be recorded in full.
fn request(recorded: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(recorded);
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if body.ends_with("...1,048,569 bytes of x") => {
            let mut request = format!("{head}\r\n\r\n").into_bytes();
            request.resize(request.len() + 1_048_569, b'x');
            request
        }
        _ => recorded.to_vec(),
    }
}

/// A response as lines: status, compared headers and body.
fn shape(got: &Response) -> Vec<String> {
    let mut lines = vec![got.head.status_line.clone()];
    for (name, value) in &got.head.headers {
        lines.extend(header(name, value));
    }
    lines.push(format!("body {}", got.body.escape_ascii()));
    lines
}

fn parse(answer: &[u8]) -> Vec<String> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n");
    // One response was recorded without the end of its head.
    let (head, body) = at.map_or((answer, &b""[..]), |at| (&answer[..at], &answer[at + 4..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut shape = vec![lines.next().expect("a status line").to_owned()];
    for line in lines {
        if let Some((name, value)) = line.split_once(": ") {
            shape.extend(header(name, value));
        }
    }
    shape.push(format!("body {}", body.escape_ascii()));
    shape
}

fn header(name: &str, value: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    // X-Request-Id identifies an error in the server's log.
    let kept = !name.starts_with("x-styx-") && !["date", "x-request-id"].contains(&name.as_str());
    kept.then(|| format!("{name}: {value}"))
}

/// The differences: missing lines and unexpected lines.
fn compare(name: &str, recorded_lines: &[String], got: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    for line in recorded_lines {
        if !got.iter().any(|g| matches(line, g)) {
            failures.push(format!("{name}: - {line}"));
        }
    }
    for line in got {
        let metrics = name == "metrics" && line.starts_with("body ");
        if !metrics && !recorded_lines.iter().any(|w| matches(w, line)) {
            failures.push(format!("{name}: + {line}"));
        }
    }
    failures
}

/// Whether a line matches, where `<…>` matches anything.
fn matches(recorded: &str, got: &str) -> bool {
    let mut pieces = recorded.split("<text>").flat_map(|piece| piece.split("<n>"));
    let Some(mut rest) = got.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for piece in pieces {
        open = piece.is_empty();
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    open || rest.is_empty()
}

#[test]
fn a_difference_is_detected() {
    assert!(matches("body {\"message\": \"<text>\"}", "body {\"message\": \"what?\"}"));
    assert!(matches("content-length: <n>", "content-length: 17"));
    assert!(!matches("content-length: 3", "content-length: 17"));
    assert!(!matches("body {\"code\": \"x\", \"message\": \"<text>\"}", "body {\"code\": \"y\"}"));
    assert!(!matches("body a<text>b", "body axbc"));
    let (old, new) = (["HTTP/1.1 200 OK".to_owned()], ["HTTP/1.1 201 Created".to_owned()]);
    assert_eq!(compare("x", &old, &new).len(), 2);
}
