//! `styx token` against a running server, and how guessing is throttled.

use styx_tests::cli::{run, styx};
use styx_tests::tokens::{self, with};
use styx_tests::{Request, Settings, TestServer};

fn status(server: &TestServer, secret: &str) -> u16 {
    server.ask(&with(Request::get("/logs"), secret)).status()
}

#[test]
fn token_is_created_listed_rotated_and_revoked_while_the_server_runs() {
    let (server, admin) = tokens::start(Settings::default());
    let data = server.data();
    let created = tokens::token(
        &data,
        &[
            "create",
            "--name",
            "ci",
            "--allow",
            "append:orders-*",
            "--allow",
            "read:*",
            "--expires",
            "30d",
        ],
    );
    assert_eq!(created.code, 0, "{}", created.stderr);
    let first = String::from_utf8(created.stdout.clone()).expect("text");
    // Standard output has the secret and nothing else.
    assert!(first.starts_with("styx_") && first.len() == 54 && first.ends_with('\n'), "{first}");
    assert!(created.stderr.contains("Created token ci") && !created.stderr.contains(first.trim()));
    let first = first.trim();
    tokens::await_status(&server, first, 200);
    let file = std::fs::read_to_string(data.join("tokens.toml")).expect("a file");
    assert!(!file.contains(first) && !file.contains(&first[5..]), "{file}");

    let list = tokens::token(&data, &["list"]).expect_text();
    assert!(list.starts_with("NAME\t") && list.contains("append:orders-* read:*"), "{list}");
    let json = tokens::token(&data, &["list", "-f", "json"]).expect_text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[1]["name"], "ci");
    assert_eq!(json[1]["status"], "valid");
    assert_eq!(json[1]["allow"], serde_json::json!(["append:orders-*", "read:*"]));
    for shown in [list, json.to_string()] {
        assert!(!shown.contains("styx_") && !shown.contains("sha256"), "{shown}");
    }

    let second = tokens::token(&data, &["rotate", "ci"]).expect_text().trim().to_owned();
    tokens::await_status(&server, &second, 200);
    assert_eq!(status(&server, first), 200, "both are valid during the rotation");
    let again = tokens::token(&data, &["rotate", "ci"]);
    assert!(again.code == 1 && again.stderr.contains("--finish"), "{}", again.stderr);
    assert_eq!(tokens::token(&data, &["rotate", "ci", "--finish"]).code, 0);
    tokens::await_status(&server, first, 401);
    assert_eq!(status(&server, &second), 200);

    assert_eq!(tokens::token(&data, &["revoke", "ci"]).code, 0);
    tokens::await_status(&server, &second, 401);
    assert_eq!(status(&server, &admin), 200);
}

#[test]
fn wrong_uses_of_the_command_say_what_to_do() {
    let (server, _) = tokens::start(Settings::default());
    let data = server.data();
    for (arguments, code, part) in [
        (&["create", "--name", "admin", "--allow", "read:*"][..], 1, "has a token admin already"),
        (&["create", "--name", "x", "--allow", "read"], 2, "add the logs"),
        (&["create", "--name", "x", "--allow", "write:*"], 2, "use read, append"),
        (&["create", "--name", "x"], 2, "--allow"),
        (&["create", "--name", "x y", "--allow", "read:*"], 1, "letters, digits"),
        (&["create", "--name", "x", "--allow", "read:*", "--expires", "soon"], 2, "12h or 30d"),
        (
            &["create", "--name", "x", "--allow", "read:*", "--expires", "2020-01-01T00:00:00Z"],
            2,
            "past",
        ),
        (&["revoke", "none"], 1, "has no token \"none\""),
        (&["rotate", "none"], 1, "has no token \"none\""),
        (&["rotate", "admin", "--finish"], 1, "no rotation"),
    ] {
        let done = tokens::token(&data, arguments);
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
        assert!(done.stdout.is_empty());
    }
    let nowhere = server.scratch().join("nowhere");
    let done = tokens::token(&nowhere, &["list"]);
    assert!(done.code == 1 && done.stderr.contains("styx token create"), "{}", done.stderr);
    assert!(!nowhere.exists(), "a list creates nothing");
}

#[test]
fn configuration_file_says_where_the_tokens_are() {
    let server = Settings::default().table("[auth]\ntoken_file = \"secret/tokens\"").start();
    // The key alone turns access control on, and there is no token yet.
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
    server.expect_log("styx token create");
    let config = server.scratch().join("config.toml");
    let config = config.to_str().expect("text");
    let mut command =
        styx(&["token", "create", "--name", "a", "--allow", "admin:*", "--config", config]);
    command.current_dir(server.scratch().path());
    let secret = run(command, b"").expect_text().trim().to_owned();
    assert!(server.scratch().join("secret/tokens").exists());
    tokens::await_status(&server, &secret, 200);
}

#[test]
fn concurrent_creations_are_all_kept() {
    let (server, _) = tokens::start(Settings::default());
    let data = &server.data();
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || tokens::create(data, &format!("t{number}"), &["read:*"]));
        }
    });
    let list = tokens::token(data, &["list"]).expect_text();
    assert_eq!(list.lines().count(), 10, "{list}");
}

#[test]
fn guessing_is_throttled_and_valid_tokens_are_not() {
    let (server, admin) = tokens::start(Settings::default());
    let wrong = tokens::mistyped(&admin);
    let answers: Vec<_> =
        (0..40).map(|_| server.ask(&with(Request::get("/logs"), &wrong))).collect();
    let of = |status: u16| answers.iter().filter(|answer| answer.status() == status).count();
    assert!(of(401) >= 20 && of(429) >= 10, "{} and {}", of(401), of(429));
    let refused = answers.into_iter().next_back().expect("one");
    let refused = refused.expect_error(429, "too_many_requests");
    assert!(refused.head.number("Retry-After") >= 1);
    for _ in 0..40 {
        assert_eq!(status(&server, &admin), 200);
    }
    // No token is no guess.
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
}

/// The command line and the benchmark with a token.
#[test]
fn commands_work_with_a_token_and_explain_its_absence() {
    let (server, admin) = tokens::start(Settings::default());
    let with_token = |arguments: &[&str], input: &[u8]| {
        let arguments = [arguments, &["--token", &admin]].concat();
        server.cli(&arguments, input)
    };
    let _ = with_token(&["logs", "create", "a"], b"").expect_ok();
    let _ = with_token(&["logs", "write", "a"], b"one\ntwo\n").expect_ok();
    assert_eq!(with_token(&["logs", "read", "a"], b"").expect_text(), "one\ntwo\n");
    let _ = with_token(
        &["benchmark", "--quick", "post", "get", "produce", "consume", "--size", "100"],
        b"",
    )
    .expect_ok();
    let refused = server.cli(&["logs", "list"], b"");
    assert!(refused.code == 1 && refused.stderr.contains("STYX_TOKEN"), "{}", refused.stderr);
    let reader = tokens::create(&server.data(), "reader", &["read:a"]);
    tokens::await_status(&server, &reader, 200);
    let refused = server.cli(&["logs", "write", "a", "--token", &reader], b"x\n");
    assert!(refused.code == 1 && refused.stderr.contains("append:a"), "{}", refused.stderr);
}
