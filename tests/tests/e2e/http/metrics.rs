//! Metrics: Prometheus and StatsD.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use styx_tests::{Request, Settings, TestServer};

#[test]
fn prometheus_metrics_cover_every_log() {
    let server = TestServer::start();
    server.create("a");
    server.create("b");
    server.append_all("a", &["12345", "67"]);
    let answer = server.ask(&Request::get("/metrics")).expect(200);
    let content_type = answer.header("Content-Type").expect("a type");
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let text = answer.text();
    for line in [
        "# TYPE log_record_count gauge",
        "log_record_count{log=\"a\"} 2",
        "log_record_count{log=\"b\"} 0",
        "# TYPE log_file_size gauge",
        "log_file_size{log=\"a\"} 23",
        "log_file_size{log=\"b\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line}:\n{text}");
    }
    for family in ["styx_", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(text.lines().any(|l| l.starts_with(family)), "no {family}:\n{text}");
    }
    exposition(text);

    let _ = server.ask(&Request::delete("/logs/b")).expect(200);
    let after = server.ask(&Request::get("/metrics")).expect(200);
    assert!(!after.text().contains("log=\"b\""), "a deleted log is not exported");
}

#[test]
fn every_log_has_a_status_metric_even_if_it_is_not_open() {
    let mut server = TestServer::start();
    for log in ["damaged", "lost", "well"] {
        server.create(log);
        server.append(log, "a record that is to be found again");
    }
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let log = |name: &str| server.data().join(name);
    let segment = log("damaged").join("0/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).expect("it can be written");
    std::fs::write(log("lost").join("log.toml"), "garbage").expect("it can be written");
    server.restart();
    let statuses = |server: &TestServer| -> Vec<String> {
        let answer = server.ask(&Request::get("/metrics")).expect(200);
        let lines = answer.text().lines().filter(|line| line.starts_with("styx_log_status{"));
        lines.map(str::to_owned).collect()
    };
    let status =
        |log: &str, status: &str| format!("styx_log_status{{log=\"{log}\",status=\"{status}\"}} 1");
    let expected = [status("damaged", "corrupt"), status("lost", "unknown"), status("well", "ok")];
    assert_eq!(statuses(&server), expected);

    let _ = server.ask(&Request::post("/logs/damaged/truncate")).expect(200);
    let _ = server.ask(&Request::delete("/logs/lost")).expect(200);
    let expected = [status("damaged", "ok"), status("well", "ok")];
    assert_eq!(statuses(&server), expected, "a deleted or repaired log has no old status");
}

/// The value of the only sample with this name and these labels.
fn value(server: &TestServer, sample: &str) -> Option<f64> {
    let answer = server.ask(&Request::get("/metrics")).expect(200);
    let mut lines = answer.text().lines();
    let text = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(text.parse().expect("a number"))
}

const HISTOGRAMS: [&str; 5] = [
    "styx_append_duration_seconds",
    "styx_commit_queue_seconds",
    "styx_commit_bytes",
    "styx_fsync_duration_seconds",
    "styx_read_duration_seconds",
];

#[test]
fn histograms_count_appends_their_commits_and_reads() {
    let server = TestServer::start();
    server.create("a");
    let counts = || {
        HISTOGRAMS.map(|name| {
            let get = |part: &str| value(&server, &format!("{name}_{part}")).expect(name);
            let count = get("count");
            assert_eq!(get("bucket{le=\"+Inf\"}"), count, "{name}");
            assert!(get("sum") > 0.0 || count == 0.0, "{name}");
            count
        })
    };
    assert_eq!(counts(), [0.0; 5], "no append, no commit, no read");
    for number in 1..=3 {
        assert_eq!(server.append("a", "12345"), number);
    }
    assert_eq!(counts(), [3.0, 3.0, 3.0, 3.0, 0.0]);
    let _ = server.ask(&Request::get("/logs/a/records")).expect(200);
    assert_eq!(counts()[4], 1.0, "one read");
    // Buckets are cumulative, and their bounds are in seconds.
    let answer = server.ask(&Request::get("/metrics")).expect(200);
    let name = "styx_fsync_duration_seconds_bucket{le=\"";
    let buckets = answer.text().lines().filter_map(|line| line.strip_prefix(name));
    let buckets: Vec<(f64, f64)> = buckets
        .map(|line| line.split_once("\"} ").expect("a bucket"))
        .map(|(bound, count)| (bound.parse().expect("a bound"), count.parse().expect("a count")))
        .collect();
    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
    assert_eq!(buckets.first().map(|(bound, _)| *bound), Some(0.000_004));
    assert_eq!(buckets.last().map(|(bound, _)| *bound), Some(f64::INFINITY));
}

#[test]
fn totals_cover_all_logs_and_remain_without_the_metrics_of_each_log() {
    let settings = |per_log: &str| Settings::default().table(&format!("[metrics]\n{per_log}"));
    let mut server = settings("per_log = \"never\"").start();
    for log in ["a", "b"] {
        server.create(log);
        server.append_all(log, &["12345", "67"]);
    }
    let _ = server.ask(&Request::delete("/logs/b")).expect(200);
    let expect = |server: &TestServer, rows: &[(&str, f64)]| {
        for (sample, expected) in rows {
            assert_eq!(value(server, sample), Some(*expected), "{sample}");
        }
    };
    expect(
        &server,
        &[
            ("styx_metrics_per_log", 0.0),
            ("styx_logs{status=\"ok\"}", 1.0),
            ("styx_logs{status=\"corrupt\"}", 0.0),
            ("styx_logs_records", 2.0),
            ("styx_logs_record_bytes", 23.0),
            ("styx_logs_segments", 1.0),
            ("styx_logs_queue_bytes", 0.0),
            // A counter never decreases.
            ("styx_records_appended_total", 4.0),
            ("styx_commit_bytes_count", 2.0),
        ],
    );
    let text = server.ask(&Request::get("/metrics")).expect(200).text().to_owned();
    assert!(!text.contains("log=\""), "{text}");
    let disk_bytes = value(&server, "styx_logs_disk_bytes");
    for per_log in ["per_log = \"always\"", ""] {
        server.restart_with(settings(per_log));
        server.await_ready();
        expect(&server, &[("styx_metrics_per_log", 1.0), ("log_record_count{log=\"a\"}", 2.0)]);
        let of_log = value(&server, "styx_log_disk_bytes{log=\"a\"}");
        assert!(of_log.is_some(), "{per_log}");
        assert_eq!(of_log, value(&server, "styx_logs_disk_bytes"));
    }
    assert!(disk_bytes > Some(0.0), "{disk_bytes:?}");
}

#[test]
fn the_disk_of_the_data_directory_has_a_size_and_free_space() {
    let server = TestServer::start();
    let size = value(&server, "styx_disk_size_bytes").expect("a size");
    let free = value(&server, "styx_disk_free_bytes").expect("free space");
    assert!(0.0 < free && free <= size, "{free} of {size}");
}

/// Checks that every line is a comment, or a sample of a family whose type is declared
/// before it.
fn exposition(text: &str) {
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(!families.contains(&name), "{name} twice");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let name = name.split('{').next().expect("a name");
            let of = |family: &&&str| {
                name.strip_prefix(**family)
                    .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            };
            assert!(families.iter().any(|f| of(&f)), "{line} without a type");
            assert!(value.parse::<f64>().is_ok() || value == "+Inf", "{line}");
        }
    }
}

/// A server that sends its gauges to the socket.
fn statsd(prefix: &str) -> (TestServer, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit above 0");
    let address = socket.local_addr().expect("it is bound");
    let table = format!(
        "[metrics.statsd]\nprotocol = \"udp\"\naddress = \"{address}\"\nprefix = \"{prefix}\""
    );
    (Settings::default().table(&table).start(), socket)
}

/// Receives datagrams until all expected ones have arrived.
fn await_datagrams(socket: &UdpSocket, expected: &[&str]) -> Vec<String> {
    let mut got = Vec::new();
    while !expected.iter().all(|w| got.iter().any(|g| g == w)) {
        let mut buffer = [0; 2000];
        let count =
            socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{e}: {expected:?} {got:?}"));
        got.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
    }
    got
}

#[test]
fn statsd_receives_two_gauges_per_log() {
    let (server, socket) = statsd("my.styx");
    server.create("a-b_c");
    server.append_all("a-b_c", &["12345", "67"]);
    let expected = ["my.styx.log.a-b_c.record.count:2|g\n", "my.styx.log.a-b_c.file.size:23|g\n"];
    let got = await_datagrams(&socket, &expected);
    assert!(got.iter().all(|d| d.matches('\n').count() == 1), "one gauge per datagram: {got:?}");
}

#[test]
fn statsd_without_a_prefix_has_no_leading_dot() {
    let (server, socket) = statsd("");
    server.create("a");
    server.append("a", "12345");
    await_datagrams(&socket, &["log.a.record.count:1|g\n", "log.a.file.size:13|g\n"]);
}

#[test]
fn statsd_is_sent_at_most_once_a_second_and_always_the_last_value() {
    let (server, socket) = statsd("s");
    server.create("a");
    let start = Instant::now();
    for _ in 0..300 {
        server.append("a", "x");
    }
    let got = await_datagrams(&socket, &["s.log.a.record.count:300|g\n"]);
    let seconds = start.elapsed().as_secs_f64();
    let counts = got.iter().filter(|d| d.contains("record.count")).count();
    assert!(counts as f64 <= seconds + 2.0, "{counts} datagrams in {seconds} s: {got:?}");
}

#[test]
fn an_unreachable_statsd_does_not_affect_appends() {
    let table = "[metrics.statsd]\nprotocol = \"udp\"\naddress = \"127.0.0.1:1\"\nprefix = \"x\"";
    let server = Settings::default().table(table).start();
    server.create("a");
    for number in 1..=20 {
        assert_eq!(server.append("a", "x"), number);
    }
}
