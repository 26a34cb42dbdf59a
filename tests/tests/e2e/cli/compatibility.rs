//! The commands of Styx 0.x print what they printed then: `golden/cli.json` was
//! recorded from it, and is replayed here in order.
//!
//! `<usage>` and `<text>` match any text that is not empty. [`DIFFERENCES`] lists the
//! intended differences with their reasons.

use serde_json::Value;
use styx_tests::TestServer;
use styx_tests::cli::{run, styx};

/// Intended differences: command, output, old text, new text and reason.
const DIFFERENCES: &[(&str, &str, &str, &str, &str)] = &[];

#[test]
fn recorded_0x_commands_print_the_same_output() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../golden/cli.json")).expect("JSON");
    let server = TestServer::start();
    // The recorded server had another log: 13 records, 133 bytes.
    server.create("cap");
    server.append_all("cap", &vec![Vec::new(); 12]);
    server.append("cap", vec![b'x'; 29]);
    let mut failures = Vec::new();
    let mut used = 0;
    for entry in golden.as_array().expect("a list") {
        let command = entry["command"].as_str().expect("a command");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let mut process = styx(&words);
        process.env("STYX_HOST", server.url(""));
        let done = run(process, entry["stdin"].as_str().unwrap_or_default().as_bytes());
        let code = entry["exit"].as_i64().expect("a code");
        if i64::from(done.code) != code {
            failures.push(format!("{command}: exit {}, not {code}: {}", done.code, done.stderr));
        }
        let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
        for (output, got) in [("stdout", stdout), ("stderr", done.stderr)] {
            let mut expected = entry[output].as_str().expect("an output").to_owned();
            for (_, _, old, new, _) in
                DIFFERENCES.iter().filter(|d| d.0 == command && d.1 == output)
            {
                assert_eq!(
                    *old, expected,
                    "{command}: the listed difference does not match the recording"
                );
                expected = (*new).to_owned();
                used += 1;
            }
            if !matches(&expected, &got) {
                failures.push(format!(
                    "{command}: {output}\n  expected {expected:?}\n  got      {got:?}"
                ));
            }
        }
    }
    assert_eq!(used, DIFFERENCES.len(), "a listed difference does not occur in any command");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn matches(expected: &str, got: &str) -> bool {
    match expected {
        "<usage>" => got.to_ascii_lowercase().contains("usage") && got.ends_with('\n'),
        "Error: <text>\n" => {
            let text = got.strip_prefix("Error: ").and_then(|got| got.strip_suffix('\n'));
            text.is_some_and(|text| !text.is_empty())
        }
        exact => exact == got,
    }
}
