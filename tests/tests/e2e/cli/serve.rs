//! `styx serve` as a process: configuration, lock, pid file, shutdown, health and
//! version.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_tests::api::{info_json, write_one, written_json};
use styx_tests::cli::{run, styx};
use styx_tests::{Request, Scratch, Settings, Table, TestServer, error, gives};

#[test]
fn a_0x_configuration_starts_the_server_without_warnings() {
    let file = r#"
pid_file = "styx.pid"
bind_address = "127.0.0.1:0"
shutdown_timeout = 3
cors_allowed_origins = ["*"]
http_read_buffer_size = 1048576
http_write_buffer_size = 1048576
tcp_read_buffer_size = 1048576
tcp_write_buffer_size = 1048576
tcp_timeout = 30
websocket_read_buffer_size = 1048576
websocket_write_buffer_size = 1048576

[log_manager]
data_directory = "DATA"
read_buffer_size = 1048576
write_buffer_size = 1048576

[metrics.statsd]
protocol = "udp"
address = "127.0.0.1:1"
prefix = "styx"
"#;
    for old_name in [false, true] {
        let mut settings = Settings::default().file(file);
        if old_name {
            settings = settings.under_the_old_name().argument("--log-level").argument("WARN");
        }
        let mut server = settings.start();
        server.create("a");
        let log = server.stop().log;
        assert!(!log.contains("WARN"), "a warning about a valid file: {log}");
    }
}

#[test]
fn under_its_old_name_the_server_reads_config_toml_in_the_current_directory() {
    let scratch = Scratch::new("old-name");
    let link = scratch.join("styx-server");
    std::os::unix::fs::symlink(styx_tests::binary::styx(), &link).expect("a link can be made");
    scratch.write("config.toml", "bind_address = 7123\n");
    let mut command = Command::new(link);
    command.current_dir(scratch.path());
    let done = run(command, b"");
    assert_ne!(done.code, 0);
    assert!(done.stderr.contains("bind_address"), "the server read ./config.toml: {}", done.stderr);
}

#[test]
fn the_server_starts_without_a_configuration_file() {
    let scratch = Scratch::new("no-config");
    let mut command = styx(&["serve", "--bind-address", "127.0.0.1:0"]);
    command.current_dir(scratch.path()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("it can be started");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("the stream is piped");
    let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line);
    let _ = child.kill();
    let _ = child.wait();
    assert!(read.is_ok() && line.starts_with("listening on http://127.0.0.1:"), "{line:?}");
    assert!(scratch.join("data").is_dir(), "the default data directory is ./data");
}

#[test]
fn an_unknown_key_is_warned_about_with_the_nearest_name() {
    let server = Settings::default().set("shutdown_timout = 1").start();
    let log = server.log();
    assert!(log.contains("shutdown_timout") && log.contains("shutdown_timeout"), "{log}");
}

#[test]
fn check_config_rejects_unknown_keys_that_serve_only_warns_about() {
    let scratch = Scratch::new("check-config");
    let check = |text: &str| {
        let path = scratch.write("config.toml", text);
        let mut command = styx(&["serve", "--check-config", "--config"]);
        command.arg(path).current_dir(scratch.path());
        run(command, b"")
    };
    let good = check("bind_address = \"127.0.0.1:0\"\nshutdown_timeout = 1\n");
    assert_eq!(good.code, 0, "{}", good.stderr);
    let unknown = check("shutdown_timout = 1\n");
    assert_eq!(unknown.code, 1, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("shutdown_timeout"), "{}", unknown.stderr);
    for bad in [
        "shutdown_timeout = \"soon\"\n",
        "bind_address = 7123\n",
        "tcp_timeout = -1\n",
        "cors_allowed_origins = \"*\"\n",
        "this is no TOML",
    ] {
        let done = check(bad);
        assert_eq!(done.code, 1, "{bad}: {}", done.stderr);
        assert!(!done.stderr.trim().is_empty(), "{bad}");
        let served = Settings::default().file(bad).start_in(Arc::new(Scratch::new("bad-config")));
        assert!(served.is_err(), "{bad} was served");
    }
    let missing = run(styx(&["serve", "--config", "/nonexistent/config.toml"]), b"");
    assert_eq!(missing.code, 1, "{}", missing.stderr);
    assert!(missing.stderr.contains("/nonexistent/config.toml"), "{}", missing.stderr);
}

#[test]
fn every_printed_value_is_accepted_as_a_flag_and_as_a_variable() {
    let scratch = Scratch::new("printed");
    let mut first = vec!["serve", "--print-config"];
    let list = r#"["https://a.example", "http://localhost:*"]"#;
    let origins = format!("cors_allowed_origins={list}");
    for value in [
        origins.as_str(),
        "tcp_timeout=7",
        "pid_file=styx 1.pid",
        "log_manager.pad_commits=true",
        "metrics.statsd.address=localhost:8125",
        "metrics.statsd.prefix=it's \"p\"",
    ] {
        first.extend(["--set", value]);
    }
    let print = |mut command: Command| {
        command.current_dir(scratch.path());
        run(command, b"").expect_text()
    };
    let printed = print(styx(&first));
    assert!(printed.contains(&format!("cors_allowed_origins = {list}\n")), "{printed}");

    let mut by_flag = styx(&["serve", "--print-config"]);
    let mut by_variable = styx(&["serve", "--print-config"]);
    let mut table = String::new();
    for line in printed.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ") {
            by_flag.arg("--set").arg(format!("{table}{key}={value}"));
            let variable = format!("STYX_{table}{key}").replace('.', "_").to_uppercase();
            by_variable.env(variable, value);
        }
    }
    assert_eq!(print(by_flag), printed);
    assert_eq!(print(by_variable), printed);
}

#[test]
fn broken_list_is_refused_with_the_accepted_forms() {
    let value = "cors_allowed_origins=[\"https://a.example\"";
    let done = run(styx(&["serve", "--print-config", "--set", value]), b"");
    assert_eq!(done.code, 1, "{}", done.stderr);
    for part in ["cors_allowed_origins", "https://a.example", "a list"] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
}

#[test]
fn address_or_path_that_can_never_work_is_refused_by_check_config_and_at_start() {
    for (key, value) in [
        ("metrics.statsd.address", "localhost"),
        ("metrics.statsd.address", "localhost:70000"),
        ("metrics.statsd.address", "http://localhost:8125"),
        ("bind_address", "127.0.0.1:70000"),
        ("pid_file", "/nonexistent/styx.pid"),
        ("log_manager.data_directory", "/dev/null"),
        ("max_in_flight_bytes", "64MiB"),
    ] {
        let setting = format!("{key}={value}");
        for flags in [&["--check-config"][..], &["--bind-address", "127.0.0.1:0"]] {
            let mut arguments = vec!["serve", "--set", setting.as_str()];
            if key != "bind_address" || flags.len() == 1 {
                arguments.extend(flags);
            }
            let done = run(styx(&arguments), b"");
            assert_eq!(done.code, 1, "{setting}: {}", done.stderr);
            for part in [key, value, "use "] {
                assert!(done.stderr.contains(part), "{setting}: {}", done.stderr);
            }
        }
    }
}

#[test]
fn empty_variables_count_as_unset_and_unknown_ones_are_warned_about() {
    let check = |variables: &[(&str, &str)]| {
        let mut command = styx(&["serve", "--check-config"]);
        command.envs(variables.iter().copied());
        run(command, b"")
    };
    for variable in [
        "STYX_BIND_ADDRESS",
        "STYX_TCP_TIMEOUT",
        "STYX_DATA_DIRECTORY",
        "STYX_CONFIG",
        "STYX_LOG_FORMAT",
        "STYX_CA_FILE",
        "STYX_HOST",
        "STYX_UNKNOWN",
    ] {
        let done = check(&[(variable, "")]);
        assert_eq!(done.code, 0, "{variable}: {}", done.stderr);
    }
    let known = [("STYX_HOST", "db:7123"), ("STYX_TOKEN", "x"), ("STYX_LOG", "info")];
    let done = check(&known);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for variable in ["STYX_UNKNOWN", "STYX_BIND_ADRESS"] {
        let done = check(&[(variable, "x")]);
        assert_eq!(done.code, 1, "{variable}: {}", done.stderr);
        assert!(done.stderr.contains(variable), "{}", done.stderr);
    }
}

#[test]
fn a_second_server_on_a_data_directory_is_refused() {
    let first = TestServer::start();
    first.create("a");
    let second = Settings::default().start_in(Arc::clone(first.scratch()));
    let refusal = second.expect_err("the directory is in use");
    let data = first.data().display().to_string();
    assert!(refusal.output.contains(&data), "the error names the directory: {}", refusal.output);
    assert!(refusal.status.is_some_and(|status| status.code() == Some(1)), "{refusal}");
    assert_eq!(first.append("a", "x"), 1, "the first server still works");
}

#[test]
fn a_start_removes_what_an_interrupted_command_left_and_logs_it() {
    let mut server = TestServer::with_log("a");
    server.append("a", "x");
    server.kill();
    let left = [".restoring-0123456789abcdef", ".deleted-0123456789abcdef"];
    for name in left {
        let folder = server.data().join(name).join("0");
        std::fs::create_dir_all(&folder).expect("a directory");
        std::fs::write(folder.join("00000000000000000000.seg"), b"STYX").expect("a file");
    }
    server.restart();
    let log = server.log();
    for name in left {
        assert!(!server.data().join(name).exists(), "{name}");
        let line = log.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("no line with {name}: {log}"));
        assert!(line.contains("INFO") && line.contains("removed"), "{line}");
    }
    assert_eq!(server.read_all("a"), [b"x"]);
}

#[test]
fn a_0x_data_directory_is_refused_and_left_unchanged() {
    let scratch = Arc::new(Scratch::new("old-data"));
    let log = scratch.join("data").join("old");
    std::fs::create_dir_all(&log).expect("a directory");
    let config = vec![7u8; 68];
    std::fs::write(log.join("config"), &config).expect("a file");
    let segment = "segment-00000000000000000000-00000000000000000000-00000000001795399531-records";
    std::fs::write(log.join(segment), b"\0\0\0\x01xcrc?").expect("a file");
    let refusal = Settings::default().start_in(Arc::clone(&scratch));
    let refusal = refusal.expect_err("a 0.x directory is refused");
    assert!(
        refusal.output.contains("import") || refusal.output.contains("0."),
        "{}",
        refusal.output
    );
    assert_eq!(std::fs::read(log.join("config")).expect("the file still exists"), config);
    assert_eq!(std::fs::read_dir(&log).expect("a directory").count(), 2, "no file was added");
}

#[test]
fn a_port_in_use_is_reported() {
    let first = TestServer::start();
    let text = format!(
        "bind_address = \"{}\"\n[log_manager]\ndata_directory = \"DATA\"\n",
        first.address()
    );
    let second = Settings::default().file(&text).start_in(Arc::new(Scratch::new("port")));
    let refusal = second.expect_err("the port is in use");
    assert!(refusal.output.contains(&first.address().to_string()), "{}", refusal.output);
}

#[test]
fn the_pid_file_is_written_locked_and_removed() {
    let mut server = Settings::default().set("pid_file = \"styx.pid\"").start();
    let path = server.scratch().join("styx.pid");
    let text = || std::fs::read_to_string(&path).expect("the pid file");
    assert_eq!(text().trim(), server.process().to_string());

    let other = server.scratch().join("other");
    let second = format!(
        "pid_file = {:?}\nbind_address = \"127.0.0.1:0\"\n[log_manager]\ndata_directory = {other:?}\n",
        path.display().to_string()
    );
    let refusal = Settings::default().file(&second).start_in(Arc::new(Scratch::new("pid")));
    let refusal = refusal.expect_err("the pid file is locked");
    assert!(refusal.output.contains("styx.pid"), "{}", refusal.output);
    assert_eq!(text().trim(), server.process().to_string(), "the file is unchanged");

    server.kill();
    assert!(path.exists(), "a crash leaves the file");
    server.restart();
    assert_eq!(text().trim(), server.process().to_string(), "the new server replaces the id");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(!path.exists(), "a clean exit removes the file");
}

#[test]
fn stopping_finishes_requests_in_progress() {
    let mut server = TestServer::start();
    server.create("a");
    let request = write_one("a", "hello");
    let bytes = request.bytes();
    let mut under_way = server.connect();
    under_way.send(&bytes[..bytes.len() - 2]).expect("a part can be sent");
    let mut idle = server.connect();
    let _ = idle.exchange(&Request::get("/logs")).expect("an answer").expect(200);

    server.ask_to_stop();
    styx_tests::wait::until_true("no new connections", Duration::from_secs(5), || {
        let answer = styx_tests::Connection::try_open(server.address())
            .and_then(|mut c| c.exchange(&Request::get("/health/ready")));
        answer.map_or(true, |answer| answer.status() == 503)
    });
    under_way.send(&bytes[bytes.len() - 2..]).expect("the rest can be sent");
    let answer = under_way.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.text(), written_json(1, 1));
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(3), "{:?}", stopped.took);
    server.restart();
    assert_eq!(server.read_all("a"), [b"hello"]);
}

#[test]
fn stopping_waits_no_longer_than_shutdown_timeout() {
    let mut server = Settings::default().set("shutdown_timeout = 1").start();
    server.create("a");
    let bytes = write_one("a", "hello").bytes();
    let mut stuck = server.connect();
    stuck.send(&bytes[..bytes.len() - 2]).expect("a part can be sent");
    let _ = server.ask(&Request::get("/logs")).expect(200);
    let start = Instant::now();
    server.ask_to_stop();
    let _ = server.wait_for_exit();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    server.restart();
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn health_version_and_openapi_are_served() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    table.row("live", &Request::get("/health/live"), &gives(200));
    table.row("ready", &Request::get("/health/ready"), &gives(200));
    let version = table.row("version", &Request::get("/version"), &gives(200));
    let expected = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "features": ["styx/0", "styx/1", "websocket", "lz4", "zstd"],
        "limits": { "max_record_size": 64 << 20, "max_block_size": 1 << 20 },
    });
    assert_eq!(version.json(), expected, "{}", version.shown());
    let json = gives(200).with("Content-Type", "application/json");
    let openapi = table.row("openapi", &Request::get("/openapi.json"), &json).json();
    table.row("unknown", &Request::get("/health"), &error(404, "not_found"));
    table.check();

    assert!(openapi["openapi"].as_str().is_some_and(|v| v.starts_with("3.")), "{openapi}");
    for (path, methods) in [
        ("/logs", &["get", "post"][..]),
        ("/logs/{name}", &["get", "delete"]),
        ("/logs/{name}/truncate", &["post"]),
        ("/logs/{name}/trim", &["post"]),
        ("/logs/{name}/backup", &["get"]),
        ("/logs/restore", &["post"]),
        ("/logs/{name}/records", &["get", "post"]),
        ("/metrics", &["get"]),
        ("/health/live", &["get"]),
        ("/health/ready", &["get"]),
        ("/version", &["get"]),
    ] {
        for method in methods {
            let operation = &openapi["paths"][path][method];
            assert!(operation["responses"].is_object(), "{method} {path} is not described");
        }
    }
    let done = run(styx(&["version"]), b"").expect_text();
    assert!(done.contains(env!("CARGO_PKG_VERSION")), "{done}");
}

#[test]
fn readiness_lists_the_logs_that_are_not_ok() {
    let mut server = TestServer::start();
    for log in ["bad", "good"] {
        server.create(log);
    }
    let ready = |query: &str| Request::get(&format!("/health/ready{query}"));
    let healthy = server.ask(&ready("?strict=true")).expect(200).json();
    assert_eq!(healthy, serde_json::json!({ "status": "ok" }));

    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    std::fs::write(server.data().join("bad/log.toml"), "garbage").expect("it can be written");
    server.restart();
    let mut table = Table::of(&server);
    let degraded = table.row("ready", &ready(""), &gives(200)).json();
    let logs = serde_json::json!([{ "name": "bad", "status": "unknown" }]);
    assert_eq!(degraded, serde_json::json!({ "status": "degraded", "logs": logs }));
    let refused = error(503, "log_not_available").says("bad").says("unknown");
    table.row("strict", &ready("?strict=true"), &refused);
    table.row("not a flag", &ready("?strict=maybe"), &error(400, "invalid_params"));
    table.row("the other log", &write_one("good", "x"), &gives(200));
    table.row("delete", &Request::delete("/logs/bad"), &gives(200));
    table.row("strict again", &ready("?strict=true"), &gives(200));
    table.check();
}

#[test]
fn hangup_and_user_signals_do_not_stop_the_server() {
    use rustix::process::Signal;

    let mut server = TestServer::with_log("a");
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        server.tell(signal);
    }
    styx_tests::wait::until_true("three ignored signals", Duration::from_secs(10), || {
        server.log().matches("ignored; restart the server").count() == 3
    });
    server.append("a", "x");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn a_clean_restart_logs_no_warning() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    for number in 0..95 {
        server.append("a", format!("{number}"));
    }
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    server.restart();
    assert_eq!(server.read_all("a").len(), 95);
    let log = server.log();
    // This test is not about weak storage.
    let lines = log.lines().filter(|line| !line.contains("weak storage"));
    let log = lines.collect::<Vec<_>>().join("\n");
    for word in ["WARN", "ERROR", "truncat", "corrupt"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

#[test]
fn two_hundred_logs_are_reopened_after_a_crash() {
    let mut server = TestServer::start();
    for number in 0..200 {
        server.create(&format!("log{number:03}"));
    }
    for number in (0..200).step_by(10) {
        server.append(&format!("log{number:03}"), "x");
    }
    server.kill();
    server.restart();
    let list = server.ask(&Request::get("/logs")).expect(200).json();
    let list = list.as_array().expect("a list").clone();
    assert_eq!(list.len(), 200);
    assert!(list.iter().all(|log| log["status"] == "ok"), "{list:?}");
    let mut table = Table::of(&server);
    let info = info_json("log010", 1, 9, 0, 1);
    table.row("one of them", &Request::get("/logs/log010"), &gives(200).body(info));
    table.check();
}
