//! Recorded sessions of styx/0 between a client and a server of Styx 0.x: the test
//! replays the client's bytes in `golden/styx0.json` and compares the server's. The
//! bytes of the stream must be equal. Heads are compared header by header, because
//! HTTP does not fix their letter case, their order or `Date`.

use base64::Engine as _;
use serde_json::Value;
use styx_tests::{Connection, Settings, TestServer};

/// Headers that are new since the recording.
const ADDED: [&str; 4] = ["x-styx-", "date", "vary", "access-control-"];

enum Step {
    Bytes(Vec<u8>),
    End,
}

fn step(recorded: &Value) -> Step {
    match recorded.as_str().expect("text") {
        "end" => Step::End,
        text => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            Step::Bytes(bytes.expect("base64"))
        }
    }
}

fn headers(head: &[u8]) -> (String, Vec<(String, String)>) {
    let text = String::from_utf8(head.to_vec()).expect("a head is text");
    let mut lines = text.lines();
    let status = lines.next().expect("a status line").to_owned();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    (status, pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect())
}

/// Compares a recorded response, with the bytes that followed its head, to the actual
/// one.
fn compare_answer(session: &str, recorded: &[u8], connection: &mut Connection) {
    let at = recorded.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let (head, body) = (&recorded[..at], &recorded[at + 4..]);
    let (status, wanted) = headers(head);
    let got = connection.head("GET").expect("an answer");
    assert_eq!(got.status_line, status, "{session}");
    for (name, value) in wanted.iter().filter(|(name, _)| name != "date") {
        assert_eq!(got.header(name), Some(value.as_str()), "{session}: {name}");
    }
    for (name, _) in &got.headers {
        let name = name.to_ascii_lowercase();
        let is_known = wanted.iter().any(|(wanted, _)| *wanted == name);
        let is_added = ADDED.iter().any(|added| name.starts_with(added));
        assert!(is_known || is_added, "{session}: {name} is new");
    }
    let got = connection.raw(body.len()).expect("the rest of the answer");
    assert_eq!(got.escape_ascii().to_string(), body.escape_ascii().to_string(), "{session}");
}

fn replay(server: &TestServer, session: &str, steps: &[Value]) {
    let mut connection = server.connect();
    let mut has_head = false;
    for recorded in steps {
        match (recorded[0].as_str().expect("a side"), step(&recorded[1])) {
            ("client", Step::Bytes(bytes)) => connection.send(&bytes).expect("it can be sent"),
            ("client", Step::End) => connection.finish_sending().expect("it can be closed"),
            (_, Step::Bytes(bytes)) if has_head => {
                let got = connection.raw(bytes.len()).expect("the same number of bytes");
                let (got, wanted) = (got.escape_ascii(), bytes.escape_ascii());
                assert_eq!(got.to_string(), wanted.to_string(), "{session}");
            }
            (_, Step::Bytes(bytes)) => {
                compare_answer(session, &bytes, &mut connection);
                has_head = true;
            }
            (_, Step::End) => {
                let more = connection.until_close().expect("no reset");
                assert!(
                    more.is_empty(),
                    "{session}: more bytes than recorded: {}",
                    more.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn recorded_0x_sessions_get_the_same_bytes() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../golden/styx0.json")).expect("JSON");
    let server = Settings::default().set("tcp_timeout = 100").start();
    server.create("s0");
    let sessions = golden.as_array().expect("a list");
    for session in sessions {
        let name = session["name"].as_str().expect("a name");
        replay(&server, name, session["bytes"].as_array().expect("steps"));
    }
    assert_eq!(sessions.len(), 5);
    assert_eq!(server.read_all("s0"), [&b"one"[..], b"two", b"three"]);
}
