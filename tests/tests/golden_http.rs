//! What Styx 0.x answered, byte for byte: `golden/http.json` was recorded from
//! it, and is replayed here in its order.
//!
//! `<date>`, `<text>` and `<n>` stand for anything, the order of headers and
//! further `X-Styx-*` headers do not count. Every other difference is meant, and
//! stands in [`DIFFERENCES`] with its reason; one that is listed and not there
//! is as wrong as one that is there and not listed.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::Value;
use styx_tests::{Response, TestServer};

/// What is meant to differ: the exchange, what was answered, what is answered
/// now, and why. Both are lines of the head, or the body after `body `.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[];

#[test]
fn http_answers_are_those_of_0_x() {
    let golden: Value = serde_json::from_str(include_str!("../golden/http.json")).expect("JSON");
    let server = TestServer::start();
    let mut failures = Vec::new();
    let mut used = BTreeSet::new();
    for exchange in golden.as_array().expect("a list") {
        let name = exchange["name"].as_str().expect("a name");
        let request = request(&bytes(&exchange["request"]));
        let got = shape(&server.ask_bytes(&request));
        let mut wanted = parse(&bytes(&exchange["answer"]));
        if name == "metrics" {
            // The recorded server had other logs; metrics.rs has the values.
            wanted.retain(|line| !line.starts_with("body "));
        }
        for (index, (_, old, new, _)) in of(name) {
            match wanted.iter().position(|line| line == old) {
                Some(at) if new.is_empty() => drop(wanted.remove(at)),
                Some(at) => wanted[at] = (*new).to_owned(),
                None if old.is_empty() => wanted.push((*new).to_owned()),
                None => failures.push(format!("{name}: nobody answered {old:?}")),
            }
            used.insert(index);
        }
        failures.extend(compare(name, &wanted, &got));
    }
    assert_eq!(used.len(), DIFFERENCES.len(), "a difference is listed for no exchange");
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

type Difference = (&'static str, &'static str, &'static str, &'static str);

fn of(name: &str) -> impl Iterator<Item = (usize, &'static Difference)> {
    DIFFERENCES.iter().enumerate().filter(move |(_, difference)| difference.0 == name)
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

/// The recorded request; one body was too long to be written out.
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

/// An answer as lines: the status, the headers that count, and the body.
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
    // One answer was recorded without the end of its head.
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
    let kept = !name.starts_with("x-styx-") && name != "date";
    kept.then(|| format!("{name}: {value}"))
}

/// What is wrong: lines that are missing, and lines that nobody wanted.
fn compare(name: &str, wanted: &[String], got: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    for line in wanted {
        if !got.iter().any(|g| matches(line, g)) {
            failures.push(format!("{name}: - {line}"));
        }
    }
    for line in got {
        let metrics = name == "metrics" && line.starts_with("body ");
        if !metrics && !wanted.iter().any(|w| matches(w, line)) {
            failures.push(format!("{name}: + {line}"));
        }
    }
    failures
}

/// Whether a line is as wanted, where `<…>` stands for anything.
fn matches(wanted: &str, got: &str) -> bool {
    let mut pieces = wanted.split("<text>").flat_map(|piece| piece.split("<n>"));
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
fn a_difference_is_noticed() {
    assert!(matches("body {\"message\": \"<text>\"}", "body {\"message\": \"what?\"}"));
    assert!(matches("content-length: <n>", "content-length: 17"));
    assert!(!matches("content-length: 3", "content-length: 17"));
    assert!(!matches("body {\"code\": \"x\", \"message\": \"<text>\"}", "body {\"code\": \"y\"}"));
    assert!(!matches("body a<text>b", "body axbc"));
    let (old, new) = (["HTTP/1.1 200 OK".to_owned()], ["HTTP/1.1 201 Created".to_owned()]);
    assert_eq!(compare("x", &old, &new).len(), 2);
}
