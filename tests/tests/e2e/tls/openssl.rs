//! What OpenSSL's client can do with a server, and what it cannot. Skipped if there is no
//! `openssl`.

use std::process::Command;

use styx_tests::cli::{Done, run};
use styx_tests::faults::skip;
use styx_tests::{Settings, TestServer};

/// Runs `openssl s_client`; `None` if it is not installed.
fn s_client(server: &TestServer, arguments: &[&str], input: &[u8]) -> Option<Done> {
    if Command::new("openssl").arg("version").output().is_err() {
        skip("openssl is not installed");
        return None;
    }
    let authority = server.scratch().write("authority.pem", server.authority().certificate());
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &server.listener_address().to_string()]);
    command.args(["-servername", "localhost", "-verify_return_error", "-CAfile"]).arg(authority);
    command.args(arguments);
    Some(run(command, input))
}

fn text(done: &Done) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr)
}

#[test]
fn versions_before_tls_1_2_are_refused() {
    let server = Settings::default().tls().start();
    // Security level 0, so that OpenSSL itself does not refuse the version.
    let lowest = ["-cipher", "ALL:@SECLEVEL=0"];
    for version in ["-tls1", "-tls1_1"] {
        let Some(done) = s_client(&server, &[&[version], &lowest[..]].concat(), b"") else {
            return;
        };
        let text = text(&done);
        assert_ne!(done.code, 0, "{version}: {text}");
        let is_refused =
            text.contains("alert protocol version") || text.contains("alert handshake failure");
        assert!(is_refused, "{version}: {text}");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(done) = s_client(&server, &[version], b"") else { return };
        assert_eq!(done.code, 0, "{version}: {}", text(&done));
    }
}

#[test]
fn min_version_refuses_tls_1_2() {
    let server = Settings::default().tls_with("min_version = \"1.3\"").start();
    let Some(done) = s_client(&server, &["-tls1_2"], b"") else { return };
    assert!(text(&done).contains("alert protocol version"), "{}", text(&done));
    let Some(done) = s_client(&server, &["-tls1_3"], b"") else { return };
    assert_eq!(done.code, 0, "{}", text(&done));
}

#[test]
fn renegotiation_is_refused() {
    let server = Settings::default().tls().start();
    // A line with R asks for a new handshake.
    let Some(done) = s_client(&server, &["-tls1_2", "-legacy_renegotiation"], b"R\n") else {
        return;
    };
    let text = text(&done);
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
}

#[test]
fn the_client_s_first_choice_of_http_is_agreed_on() {
    let server = Settings::default().tls().start();
    for (offered, agreed) in [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")] {
        let Some(done) = s_client(&server, &["-alpn", offered], b"") else { return };
        let text = text(&done);
        assert!(text.contains(&format!("ALPN protocol: {agreed}")), "{offered}: {text}");
    }
}
