//! Signed tokens (JWT): every protocol, expiry, revocation, rotation, and files with mistakes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use styx_protocol::Code;
use styx_tests::random::Random;
use styx_tests::tokens::{self, Issuer, with};
use styx_tests::wait::until_true;
use styx_tests::{Request, Scratch, Settings, TestServer, api, websocket};

use super::streams::{LIMIT, Streams, await_one_connection, begun};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server with the logs `a` and `b`, and its issuer.
fn with_logs(settings: Settings) -> (TestServer, Issuer, String) {
    let (server, issuer) = Issuer::start(settings);
    let admin = issuer.sign("admin", &["admin:*"], "1h");
    for name in ["name=a", "name=b"] {
        let _ = server.ask(&with(Request::post("/logs").form(name), &admin)).expect(200);
    }
    (server, issuer, admin)
}

fn status(server: &TestServer, token: &str) -> u16 {
    server.ask(&with(Request::get("/logs"), token)).status()
}

#[test]
fn signed_token_is_accepted_over_every_protocol_until_it_expires() {
    let (server, issuer, admin) = with_logs(Settings::default());
    let lifetime = Duration::from_secs(6);
    let signed = Instant::now();
    let token = issuer.sign("alice", &["read:a", "append:*"], "6s");
    let streams = Streams::open(&server, &token);
    let refused = server.ask(&with(Request::post("/logs").form("name=c"), &token));
    let refused = refused.expect_error(403, "forbidden");
    assert!(refused.text().contains("get one from its issuer"), "{}", refused.text());
    // Within 5 s of `exp`, also with the leeway of 1 s.
    streams.end_with(Code::Unauthorized, signed + lifetime);
    let refused = server.ask(&with(Request::get("/logs"), &token));
    assert!(refused.header("WWW-Authenticate").is_some());
    let refused = refused.expect_error(401, "unauthorized");
    assert!(refused.text().contains("token of alice expired at 20"), "{}", refused.text());
    assert_eq!(status(&server, &admin), 200);
}

#[test]
fn removed_key_ends_the_streams_of_its_tokens() {
    let (server, issuer, _) = with_logs(Settings::default());
    let old_keys = std::fs::read(issuer.jwks()).expect("a file");
    issuer.add_key("next.pem");
    let both = std::fs::read_to_string(issuer.jwks()).expect("a file");
    let (next, _) = issuer.sign_with("next.pem", "bob", &["read:a", "append:*"], "1h");
    until_true("the new key is known", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(300));
        status(&server, &next) == 200
    });
    let old = issuer.sign("alice", &["read:a", "append:*"], "1h");
    assert_eq!(status(&server, &old), 200, "both keys are valid during a rotation");
    let streams = Streams::open(&server, &next);
    until_true("the lines of the upload are appended", PATIENCE, || {
        server.ask(&with(Request::get("/logs/b"), &old)).json()["record_count"] == 2
    });
    let begun = Instant::now();
    std::fs::write(issuer.jwks(), old_keys).expect("written");
    streams.end_with(Code::Unauthorized, begun);
    let refused = server.ask(&with(Request::get("/logs"), &next));
    let refused = refused.expect_error(401, "unauthorized");
    assert!(refused.text().contains("no key with its kid"), "{}", refused.text());
    assert_eq!(status(&server, &old), 200);
    // SIGHUP makes the server read the file at once.
    std::fs::write(issuer.jwks(), both).expect("written");
    server.tell(Signal::HUP);
    until_true("the new key is known again", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(300));
        status(&server, &next) == 200
    });
}

#[test]
fn revoked_jti_ends_the_streams_of_its_token_and_of_no_other() {
    let (server, issuer, admin) = with_logs(Settings::default());
    let (token, id) = issuer.sign_with("signing-key.pem", "alice", &["read:a", "append:*"], "1h");
    let streams = Streams::open(&server, &token);
    until_true("the lines of the upload are appended", PATIENCE, || {
        server.ask(&with(Request::get("/logs/b"), &admin)).json()["record_count"] == 2
    });
    let begun = Instant::now();
    server.scratch().write("revoked", format!("# a lost laptop\n{id}\n"));
    streams.end_with(Code::Unauthorized, begun);
    let refused = server.ask(&with(Request::get("/logs"), &token));
    let refused = refused.expect_error(401, "unauthorized");
    assert!(refused.text().contains("it was revoked"), "{}", refused.text());
    let other = issuer.sign("alice", &["read:a"], "1h");
    assert_eq!((status(&server, &other), status(&server, &admin)), (200, 200));
}

/// An answer whose peer does not read it waits for nothing that could end it.
#[test]
fn expired_signed_token_ends_an_answer_that_is_not_read() {
    let (server, issuer, admin) = with_logs(Settings::default());
    for seed in 0..8 {
        let write = api::write_one("a", Random::new(seed).bytes(1_000_000));
        let _ = server.ask(&with(write, &admin)).expect(200);
    }
    let lifetime = Duration::from_secs(6);
    let signed = Instant::now();
    let token = issuer.sign("alice", &["admin:a"], "6s");
    let mut read = begun(&server, &with(api::read_binary("a", ""), &token));
    let mut backup = begun(&server, &with(Request::get("/logs/a/backup"), &token));
    for connection in [&mut read, &mut backup] {
        assert!(connection.head("GET").expect("an answer").status_line.contains("200"));
    }
    until_true("it has expired", PATIENCE, || signed.elapsed() >= lifetime);
    await_one_connection(&server, &admin);
    assert!(signed.elapsed() < lifetime + LIMIT);
}

#[test]
fn browsers_send_signed_tokens_as_they_send_secrets() {
    let (server, issuer, _) = with_logs(Settings::default());
    let token = issuer.sign("page", &["read:a"], "1h");
    let target = "/logs/a/records?follow=true";
    let events = Request::get(&format!("{target}&access_token={token}"))
        .header("Accept", "text/event-stream");
    let mut events = begun(&server, &events);
    assert!(events.head("GET").expect("an answer").status_line.contains("200"));
    let query = websocket::handshake(&format!("{target}&access_token={token}"));
    let subprotocol = websocket::handshake(target)
        .header("Sec-WebSocket-Protocol", format!("styx, bearer.{token}"));
    for request in [query, subprotocol] {
        drop(server.upgrade(&request).unwrap_or_else(|answer| panic!("{}", answer.shown())));
    }
}

#[test]
fn token_file_and_signed_tokens_work_side_by_side() {
    let scratch = Arc::new(Scratch::new("server"));
    let issuer = Issuer::new(&scratch);
    let secret = tokens::create(&scratch.join("data"), "admin", &["admin:*"]);
    let server = Settings::default().table(&issuer.table()).start_in(scratch).expect("it starts");
    let signed = issuer.sign("alice", &["read:*"], "1h");
    assert_eq!((status(&server, &secret), status(&server, &signed)), (200, 200));
    assert_eq!(tokens::token(&server.data(), &["revoke", "admin"]).code, 0);
    tokens::await_status(&server, &secret, 401);
    assert_eq!(status(&server, &signed), 200);
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
}

#[test]
fn server_without_keys_says_that_it_accepts_no_signed_token() {
    let (server, _) = tokens::start(Settings::default());
    let issuer = Issuer::new(&Arc::new(Scratch::new("issuer")));
    let token = issuer.sign("alice", &["admin:*"], "1h");
    let refused = server.ask(&with(Request::get("/logs"), &token));
    let refused = refused.expect_error(401, "unauthorized");
    assert!(refused.text().contains("has no [auth.jwt]"), "{}", refused.text());
}

#[test]
fn broken_file_of_keys_keeps_the_keys_and_refuses_a_start() {
    let (mut server, issuer, admin) = with_logs(Settings::default());
    let good = std::fs::read_to_string(issuer.jwks()).expect("a file");
    std::fs::write(issuer.jwks(), good.replace("\"y\"", "\"z\"")).expect("written");
    until_true("the log says so", PATIENCE, || {
        server.log().contains("the keys from before stay valid")
    });
    server.expect_log("has no y");
    assert_eq!(status(&server, &admin), 200);
    server.kill();
    let refusal = server.try_restart().expect_err("fewer rules than the operator wrote");
    assert!(refusal.output.contains("cannot use auth.jwt.jwks_file"), "{refusal}");
    std::fs::write(issuer.jwks(), good).expect("written");
    server.restart();
    assert_eq!(status(&server, &admin), 200);
}

#[test]
fn signed_tokens_never_appear_in_the_log_and_their_subject_is_the_principal() {
    let scratch = Arc::new(Scratch::new("server"));
    let issuer = Issuer::new(&scratch);
    let (good, _) = issuer.sign_with("signing-key.pem", "user-7@example.com", &["read:*"], "1h");
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let binary = styx_tests::binary::styx().display();
    let script = format!("export STYX_LOG=trace,audit=info\nexec {binary} \"$@\"\n");
    let script = scratch.write("styx.sh", script);
    let settings = Settings::default().table(&issuer.table()).script(&script);
    let server = settings.start_in(scratch).expect("it starts");
    for token in [&good, &forged] {
        let target = format!("/logs/a/records?access_token={token}");
        for request in [
            Request::get(&target),
            Request::get(&target).header("Accept", "text/event-stream"),
            websocket::handshake(&target),
            websocket::handshake("/logs/a/records")
                .header("Sec-WebSocket-Protocol", format!("styx, bearer.{token}")),
            with(Request::post("/logs").form("name=a"), token),
        ] {
            let answer = server.ask(&request);
            assert!(!answer.text().contains(&token[..40]), "{}", answer.text());
        }
    }
    until_true("the audit log has the refusal", PATIENCE, || {
        server
            .log()
            .lines()
            .any(|line| line.contains("user-7@example.com") && line.contains("create_log"))
    });
    let log = server.log();
    let parts: Vec<&str> = good.split('.').collect();
    assert!(log.contains("TRACE"), "{log}");
    for part in [&parts[1][..30], &parts[2][..30], &forged[forged.len() - 30..]] {
        assert!(!log.contains(part), "a token is in the log");
    }
}

#[test]
fn wrong_uses_of_the_commands_say_what_to_do() {
    let scratch = Arc::new(Scratch::new("issuer"));
    let issuer = Issuer::new(&scratch);
    let key = scratch.join("signing-key.pem");
    let key = key.to_str().expect("text");
    let jwks = issuer.jwks();
    let jwks = jwks.to_str().expect("text");
    let sign = ["token", "sign", "--subject", "a", "--allow", "read:a", "--key"];
    let named = ["--issuer", "app", "--audience", "styx"];
    for (arguments, code, part) in [
        (vec!["token", "keypair", "--key", key, "--jwks", jwks], 1, "never overwritten"),
        (vec!["token", "keypair", "--key", "/dev/null/x", "--jwks", key], 1, "is not a JWKS"),
        ([&sign[..], &[key]].concat(), 2, "--issuer and --audience"),
        ([&sign[..], &["none"], &named[..]].concat(), 1, "styx token keypair"),
        ([&sign[..], &[jwks], &named[..]].concat(), 1, "not a private key in PEM"),
        ([&sign[..], &[key], &named[..], &["--expires", "never"]].concat(), 2, "must expire"),
    ] {
        let done = styx_tests::cli::run(styx_tests::cli::styx(&arguments), b"");
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
        assert!(done.stdout.is_empty());
    }
}
