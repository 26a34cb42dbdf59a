//! The alert rules and the dashboard in `contrib/`, with a real Prometheus.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use styx_client::blocking::Client;
use styx_tests::prometheus::{Prometheus, promtool};
use styx_tests::{Request, Scratch, Settings, TestServer, binary, wait};

/// How long Prometheus may take to have data for everything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn rules() -> PathBuf {
    binary::workspace().join("contrib/prometheus")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(binary::workspace().join("contrib").join(path)).expect(path)
}

/// The expressions of the dashboard, with a value for each variable.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/styx.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut expressions = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().expect("a title");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$job", ".*")
                .replace("$instance", ".*");
            assert!(!expression.contains('$'), "{title}: {expression}");
            expressions.push((title.to_owned(), expression));
        }
    }
    expressions
}

/// The metrics of the server in an expression.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_metric =
        |word: &&str| ["styx_", "process_", "log_"].iter().any(|begin| word.starts_with(begin));
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn alert_rules_are_valid_and_each_alert_fires_and_stays_quiet_when_it_should() {
    for call in [&["check", "rules", "styx.rules.yml"], &["test", "rules", "styx.rules.test.yml"]] {
        promtool(call, &rules()).unwrap_or_else(|fault| panic!("{call:?}: {fault}"));
    }
    let (rules, tests) =
        (read("prometheus/styx.rules.yml"), read("prometheus/styx.rules.test.yml"));
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        let case = |expected: &str| format!("alertname: {alert}\n        exp_alerts:{expected}\n");
        assert!(tests.contains(&case("")), "no test in which {alert} fires");
        assert!(tests.contains(&case(" []")), "no test in which {alert} stays quiet");
        assert!(tests.contains(&format!("name: {alert}\n")), "{alert}");
    }
}

/// A test of a rule that cannot fail would be worth nothing.
#[test]
fn promtool_refuses_a_rule_that_no_longer_fires() {
    let scratch = Scratch::new("rules");
    let broken = read("prometheus/styx.rules.yml").replace("up{job=\"styx\"} == 0", "up == 7");
    scratch.write("styx.rules.yml", broken);
    scratch.write("styx.rules.test.yml", read("prometheus/styx.rules.test.yml"));
    let fault = promtool(&["test", "rules", "styx.rules.test.yml"], scratch.path());
    assert!(fault.expect_err("it fails").contains("StyxDown"));
}

/// Appends and reads until it is told to stop.
fn with_load<T>(server: &TestServer, look: impl FnOnce() -> T) -> T {
    let authority = server.authority().certificate();
    let client = Client::builder(&server.tls_url()).ca_pem(authority).connect().expect("connected");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = wait::SetOnDrop(&is_over);
        let load = scope.spawn(|| {
            let producer = client.producer("a").open().expect("open");
            let mut consumer = client.consumer("a").follow(true).open().expect("open");
            while !is_over.load(Ordering::Relaxed) {
                let position = producer.append(b"a record").and_then(|ack| ack.position());
                position.expect("durable");
                consumer.next_batch().expect("no error").expect("the record");
                let read = server.ask(&Request::get("/logs/a/records?whence=end&position=-1"));
                let _ = read.expect(200);
                // A server under some load is enough; other tests need the machine too.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let found = look();
        drop(over);
        load.join().expect("the load had no error");
        found
    })
}

#[test]
fn every_panel_and_every_rule_has_data_of_a_loaded_server() {
    // With an archive and a read replica, because some rules are about them.
    let archive = Scratch::new("archive");
    let of_archive =
        |table: &str| format!("[archive]\n{table} = \"file://{}\"", archive.path().display());
    let server = Settings::default().tls().table(&of_archive("url")).start();
    server.create("a");
    let replica = Settings::default().tls().table(&of_archive("replica_of")).start();
    let rules = rules().join("styx.rules.yml");
    let servers = [&server, &replica];
    let targets = servers.map(|server| server.tls_url().replace("styxs://", ""));
    let authorities = servers.map(|server| server.authority().certificate()).concat();
    let ca_file = server.scratch().write("authorities.pem", authorities);
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
         rule_files: [{rules:?}]\n\
         scrape_configs:\n\
         - job_name: styx\n\
        \x20 scheme: https\n\
        \x20 tls_config: {{ca_file: {ca_file:?}}}\n\
        \x20 static_configs: [{{targets: {targets:?}}}]\n"
    );
    let prometheus = Prometheus::start(&config);
    with_load(&server, || {
        let start = Instant::now();
        for (title, expression) in dashboard() {
            loop {
                let values = prometheus.query(&expression);
                let values = values.unwrap_or_else(|e| panic!("{title}: {expression}: {e}"));
                let is_number = |value: &Value| value["value"][1] != "NaN";
                if values.iter().any(is_number) {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{title} has no data: {expression}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let names = prometheus.api("label/__name__/values").expect("the names");
        let names: BTreeSet<&str> =
            names.as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let rules = wait::until("every rule is evaluated", PATIENCE, || {
            let found = prometheus.api("rules").expect("the rules");
            let rules = found["groups"][0]["rules"].as_array().expect("rules").clone();
            let is_new = |rule: &Value| rule["health"] == "unknown";
            (!rules.is_empty() && !rules.iter().any(is_new)).then_some(rules)
        });
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            let expression = rule["query"].as_str().expect("an expression");
            for metric in metrics(expression) {
                assert!(names.contains(metric.as_str()), "{}: no {metric}", rule["name"]);
            }
        }
        let quiet = ["StyxDown", "StyxLogUnhealthy", "StyxConnectionsRefused", "StyxDamageFound"];
        for name in quiet {
            let rule = rules.iter().find(|rule| rule["name"] == name).expect(name);
            assert_eq!(rule["state"], "inactive", "{rule}");
        }
        for (title, expression) in dashboard() {
            for metric in metrics(&expression) {
                assert!(names.contains(metric.as_str()), "{title}: no {metric}");
            }
        }
    });
    let refused = prometheus.query("rate(styx_logs)").expect_err("it is no valid expression");
    assert!(refused.contains("parse error"), "{refused}");
}
