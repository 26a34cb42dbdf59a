//! Several bind addresses.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::cli::{run, styx};
use styx_tests::{Connection, Request, Scratch, Settings, TestServer, wait};

const TWO: &str = r#"
bind_address = ["127.0.0.1:0", "[::1]:0"]
[log_manager]
data_directory = "DATA"
"#;

/// All addresses, as the server's log has them.
fn addresses(server: &TestServer) -> Vec<std::net::SocketAddr> {
    let log = server.log();
    let addresses = log.lines().filter_map(|line| line.split_once("listening address=\"http://"));
    let addresses = addresses.map(|(_, rest)| rest.trim_end().trim_end_matches('"').parse());
    addresses.map(|address| address.expect("an address")).collect()
}

#[test]
fn every_address_serves_the_same_logs() {
    let server = Settings::default().file(TWO).start();
    let both = wait::until("both addresses", Duration::from_secs(10), || {
        Some(addresses(&server)).filter(|found| found.len() == 2)
    });
    server.create("a");
    server.append("a", "x");
    let request = Request::get("/logs/a/records");
    for address in both {
        let answer = Connection::open(address).exchange(&request).expect("an answer");
        assert_eq!((answer.status(), answer.text()), (200, "x"), "{address}");
    }
}

#[test]
fn port_file_has_the_first_port_and_then_every_address() {
    let mut server = Settings::default().file(TWO).argument("--port-file").argument("port").start();
    let path = server.scratch().join("port");
    let text = std::fs::read_to_string(&path).expect("a port file");
    let lines: Vec<_> = text.lines().collect();
    let [port, first, second] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(*first, format!("http://127.0.0.1:{port}"));
    assert!(second.starts_with("http://[::1]:"), "{text}");
    // A server that was killed leaves the file, and the next one replaces it.
    server.kill();
    assert!(path.exists());
    server.restart();
    assert!(server.stop().status.success());
    assert!(!path.exists());
}

#[test]
fn server_that_cannot_listen_on_one_of_its_addresses_listens_on_none() {
    let other = TestServer::start();
    let taken = other.address();
    let text = format!(
        "bind_address = [\"unix://DATA.sock\", \"{taken}\"]\n[log_manager]\ndata_directory = \"DATA\"\n"
    );
    let scratch = Arc::new(Scratch::new("half"));
    let refused = Settings::default().file(&text).start_in(Arc::clone(&scratch));
    let refusal = refused.expect_err("one address is taken");
    for part in [taken.to_string().as_str(), "bind_address", "stop the other listener"] {
        assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
    }
    assert!(!scratch.join("data.sock").exists(), "the other socket was removed");
    assert!(!scratch.join("data").exists(), "nothing was opened");
}

#[test]
fn list_of_addresses_is_accepted_by_flags_variables_and_set() {
    let list = r#"bind_address = ["127.0.0.1:1", "unix:///run/styx.sock"]"#;
    let text = "127.0.0.1:1,unix:///run/styx.sock";
    let flags = ["-b", "127.0.0.1:1", "--bind-address", "unix:///run/styx.sock"];
    let set = format!("bind_address={text}");
    for arguments in [&flags[..], &["--set", &set], &["--bind-address", text]] {
        let printed = run(styx(&[&["serve", "--print-config"], arguments].concat()), b"");
        assert!(printed.expect_text().contains(list), "{arguments:?}");
    }
    let mut command = styx(&["serve", "--print-config"]);
    command.env("STYX_BIND_ADDRESS", text);
    assert!(run(command, b"").expect_text().contains(list));
}
