//! `styx health`, for health checks of containers.

use styx_tests::cli::{Done, run, styx};
use styx_tests::tls::TlsProxy;
use styx_tests::{Scratch, Settings, TestServer};

fn health(arguments: &[&str]) -> Done {
    let mut command = styx(&["health"]);
    if !arguments.contains(&"--timeout") {
        // The machine may be busy.
        command.args(["--timeout", "30"]);
    }
    command.args(arguments).env_remove("STYX_CONFIG");
    run(command, b"")
}

#[track_caller]
fn fails(arguments: &[&str], parts: &[&str]) {
    let done = health(arguments);
    assert_eq!(done.code, 1, "{}", done.stderr);
    for part in parts {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

#[test]
fn healthy_server_is_exit_code_0_and_a_stopped_one_is_1() {
    let mut server = TestServer::start();
    let url = server.url("");
    for flags in [&[][..], &["--ready"], &["--live"]] {
        let done = health(&[&["-H", &url], flags].concat());
        assert_eq!(done.expect_text(), "ok\n", "{flags:?}");
    }
    let json = health(&["-H", &url, "-f", "json"]).expect_text();
    assert!(json.contains("\"status\": \"ok\""), "{json}");
    let mut by_variable = styx(&["health"]);
    by_variable.env("STYX_HOST", &url);
    assert_eq!(run(by_variable, b"").code, 0);

    let address = server.address().to_string();
    assert!(server.stop().status.success());
    fails(&["-H", &url], &["not ready", &address, "no server is listening there"]);
    fails(&["-H", &url, "--live"], &["not live"]);
}

#[test]
fn server_that_hangs_is_not_healthy_after_the_timeout() {
    let server = TestServer::start();
    server.pause();
    let url = server.url("");
    fails(&["-H", &url, "--timeout", "1"], &["not ready", "within 1s"]);
    server.resume();
    assert_eq!(health(&["-H", &url]).code, 0);
}

#[test]
fn server_is_found_by_its_configuration() {
    let text = r#"
bind_address = ["127.0.0.1:0", "unix://DATA.sock"]
[log_manager]
data_directory = "DATA"
"#;
    let server = Settings::default().file(text).start();
    let config = server.scratch().join("config.toml").display().to_string();
    assert_eq!(health(&["--config", &config]).expect_text(), "ok\n");
    let mut by_variable = styx(&["health"]);
    by_variable.env("STYX_CONFIG", &config);
    assert_eq!(run(by_variable, b"").code, 0);
    let mut by_address = styx(&["health"]);
    by_address.env("STYX_BIND_ADDRESS", server.address().to_string());
    assert_eq!(run(by_address, b"").code, 0);

    let scratch = Scratch::new("health");
    let config = scratch.write("config.toml", "bind_address = \"127.0.0.1:0\"\n");
    fails(&["--config", &config.display().to_string()], &["--host"]);
}

#[test]
fn server_behind_tls_is_asked_with_a_ca_file() {
    let server = TestServer::start();
    let proxy = TlsProxy::start(server.address());
    let scratch = Scratch::new("health-tls");
    let ca = scratch.write("ca.pem", proxy.authority()).display().to_string();
    let done = health(&["-H", &proxy.url(), "--ca-file", &ca]);
    assert_eq!(done.expect_text(), "ok\n");
    fails(&["-H", &proxy.url()], &["certificate"]);
}
