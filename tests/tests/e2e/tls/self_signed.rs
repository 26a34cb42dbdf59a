//! `styx serve --generate-self-signed`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;

use styx_client::blocking::Client;
use styx_tests::cli::{run, styx};
use styx_tests::{Scratch, Settings, TestServer};

fn start(scratch: &Arc<Scratch>, name: &str) -> TestServer {
    let settings = Settings::default().without_tls_bridge().while_scanning();
    let settings = settings.argument("--generate-self-signed").argument(name);
    settings.start_in(scratch.clone()).expect("it starts")
}

#[test]
fn self_signed_certificate_is_created_once_and_used_by_clients() {
    let scratch = Arc::new(Scratch::new("self-signed"));
    let server = start(&scratch, "localhost");
    let (certificate, key) =
        (server.data().join("tls-certificate.pem"), server.data().join("tls-key.pem"));
    let mode = std::fs::metadata(&key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = server.log();
    assert!(log.contains("--ca-file") && log.contains("tls-certificate.pem"), "{log}");
    let port = server.listener_address().port();
    for url in [format!("styxs://localhost:{port}"), format!("styxs://127.0.0.1:{port}")] {
        let connected = Client::builder(&url).ca_file(certificate.clone()).connect();
        assert!(connected.is_ok(), "{url}: {connected:?}");
    }
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--cacert"]).arg(&certificate);
    curl.arg(format!("https://localhost:{port}/version"));
    let _ = run(curl, b"").expect_ok();
    let first = std::fs::read(&certificate).expect("a certificate");
    drop(server);
    drop(start(&scratch, "localhost"));
    assert!(std::fs::read(&certificate).expect("a certificate") == first, "it is used again");
    drop(start(&scratch, "db.example.com"));
    assert!(std::fs::read(&certificate).expect("a certificate") != first, "another name");
}

#[test]
fn self_signed_certificate_needs_a_name_and_no_other_certificate() {
    let scratch = Scratch::new("self-signed");
    let serve = |arguments: &[&str]| {
        let mut command = styx(&["serve", "--bind-address", "127.0.0.1:0"]);
        command.args(arguments).current_dir(scratch.path());
        run(command, b"")
    };
    let done = serve(&["--generate-self-signed", "no name"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("is not a host name"), "{}", done.stderr);
    let set = ["--set", "tls.certificate=a", "--set", "tls.key=b"];
    let done = serve(&[&["--generate-self-signed", "localhost"], &set[..]].concat());
    assert_ne!(done.code, 0);
    assert!(done.stderr.contains("exclude each other"), "{}", done.stderr);
}

#[test]
fn health_of_a_self_signed_server_is_checked_with_its_certificate() {
    let scratch = Arc::new(Scratch::new("self-signed"));
    let server = start(&scratch, "localhost");
    let url = format!("https://localhost:{}", server.listener_address().port());
    let health = |more: &[&str]| {
        let mut command = styx(&["health", "--timeout", "30", "--host", &url]);
        command.args(more).env_remove("STYX_CA_FILE").env_remove("STYX_CONFIG");
        run(command, b"")
    };
    let pinned = server.data().join("tls-certificate.pem").display().to_string();
    assert_eq!(health(&["--ca-file", &pinned]).expect_text(), "ok\n");
    let other = styx_tests::Authority::new("another");
    let other = scratch.write("other.pem", other.certificate()).display().to_string();
    for more in [&[][..], &["--ca-file", &other]] {
        let done = health(more);
        assert_eq!(done.code, 1, "{more:?}");
        assert!(done.stderr.contains("certificate"), "{}", done.stderr);
    }
}
