//! A server that others can reach needs access control and TLS, or `--insecure`.

use std::sync::Arc;

use styx_tests::{Request, Scratch, Settings, tokens};

/// Starts a server with this bind address as a flag.
fn start(scratch: &Arc<Scratch>, more: &[&str]) -> Result<styx_tests::TestServer, String> {
    let settings = Settings::default().argument("--bind-address").argument("0.0.0.0:0");
    let settings = more.iter().fold(settings, |settings, flag| settings.argument(flag));
    settings.start_in(scratch.clone()).map_err(|refusal| {
        assert_eq!(refusal.status.and_then(|status| status.code()), Some(1), "{refusal}");
        refusal.output
    })
}

#[test]
fn address_of_a_flag_is_refused_without_access_control_and_without_tls() {
    let scratch = Arc::new(Scratch::new("exposure"));
    let refusal = start(&scratch, &[]).expect_err("no access control");
    assert!(refusal.contains("0.0.0.0:0") && refusal.contains("--insecure"), "{refusal}");
    assert!(refusal.contains("no access control"), "{refusal}");
    assert!(!scratch.join("data").exists(), "a refused server creates nothing");
    let server = start(&scratch, &["--insecure"]).expect("it was asked for");
    server.expect_log("no access control");
    drop(server);
    let _ = tokens::create(&scratch.join("data"), "admin", &["admin:*"]);
    let refusal = start(&scratch, &[]).expect_err("no TLS");
    assert!(refusal.contains("tokens could be read"), "{refusal}");
    let server = start(&scratch, &["--insecure"]).expect("it was asked for");
    server.expect_log("not encrypted");
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
}

#[test]
fn address_of_a_configuration_file_only_warns() {
    let text = "bind_address = \"0.0.0.0:0\"\n[log_manager]\ndata_directory = \"DATA\"\n";
    let server = Settings::default().file(text).start();
    server.expect_log("no access control");
    let _ = server.ask(&Request::get("/logs")).expect(200);
}
