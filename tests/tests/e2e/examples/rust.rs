//! The programs in `examples/rust`, run as in the documentation, and killed at random
//! moments.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use styx_client::LogConfig;
use styx_client::blocking::Client;
use styx_tests::faults::{Faults, skip};
use styx_tests::proxy::Proxy;
use styx_tests::{Scratch, TestServer, binary, cli, wait};

const PATIENCE: Duration = Duration::from_secs(60);

fn example(name: &str, address: impl std::fmt::Display, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::example(name));
    command.args(["-H", &format!("styx://{address}")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn connect(address: impl std::fmt::Display) -> Client {
    Client::connect(&format!("styx://{address}")).expect("the server is listening")
}

fn end_of(client: &Client, log: &str) -> u64 {
    client.get_log(log).map_or(0, |info| info.end_position)
}

/// All records as lines.
fn lines_of(client: &Client, log: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    for batch in client.consumer(log).open().expect("it can be opened").batches() {
        for payload in batch.expect("no error").payloads() {
            lines.extend_from_slice(payload);
            lines.push(b'\n');
        }
    }
    lines
}

#[test]
fn lines_are_produced_and_consumed() {
    let server = TestServer::start();
    let produce = || example("produce", server.address(), &["orders"]);
    let consume = || example("consume", server.address(), &["orders"]);
    let printed = cli::run(produce(), b"book\n\nlamp").expect_text();
    assert_eq!(printed, "3 lines, the last at position 2\n");
    assert_eq!(cli::run(produce(), b"").expect_text(), "no lines\n");
    assert_eq!(cli::run(consume(), b"").expect_text(), "0 book\n1 \n2 lamp\n");
    let many: String = (3..100_000).map(|i| format!("line {i}\n")).collect();
    let printed = cli::run(produce(), many.as_bytes()).expect_text();
    assert_eq!(printed, "99997 lines, the last at position 99999\n");
    let expected: String = (3..100_000).map(|i| format!("{i} line {i}\n")).collect();
    let read = cli::run(consume(), b"").expect_text();
    assert!(read.ends_with(&expected), "the lines as produced, with positions");
}

#[test]
fn the_first_program_in_the_documentation_works() {
    let path = binary::workspace().join("examples/rust/src/bin/first.rs");
    let program = std::fs::read_to_string(path).expect("a program");
    let (_, code) = program.split_once("\n\n").expect("code after its description");
    let document = std::fs::read_to_string(binary::workspace().join("docs/rust.md"));
    let shown = format!("```rust,no_run\n{code}```\n");
    assert!(document.expect("a document").contains(&shown), "docs/rust.md shows another program");

    let server = TestServer::start();
    for position in 0..2 {
        let mut command = Command::new(binary::example("first"));
        command.env("STYX_HOST", format!("styx://{}", server.address()));
        let printed = cli::run(command, b"").expect_text();
        assert_eq!(printed, format!("stored at position {position}\n{position}: a book\n"));
    }
}

#[test]
fn the_address_can_come_from_the_environment() {
    let server = TestServer::start();
    let mut command = Command::new(binary::example("produce"));
    command.arg("orders").env("STYX_HOST", server.address().to_string());
    assert_eq!(cli::run(command, b"").expect_text(), "no lines\n");
    let mut command = Command::new(binary::example("produce"));
    command.arg("orders").env("STYX_HOST", server.url(""));
    assert_eq!(cli::run(command, b"").expect_text(), "no lines\n");
    let done = cli::run(Command::new(binary::example("consume")), b"");
    assert!(done.code == 2 && done.stderr.starts_with("usage: "), "{}", done.stderr);
}

#[test]
fn a_log_is_followed_through_a_restart_until_ctrl_c() {
    let mut server = TestServer::start();
    let proxy = Proxy::start(server.address(), 1);
    let client = connect(proxy.address());
    client.create_log("orders", LogConfig::default(), false).expect("a new log");
    let producer = client.producer("orders").open().expect("it can be opened");
    producer.send(b"before").expect("durable");

    let mut follower =
        example("follow", proxy.address(), &["orders"]).spawn().expect("it can be started");
    let mut stderr = BufReader::new(follower.stderr.take().expect("the stream is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("the program prints a line");
    assert_eq!(line, "following orders from position 1\n");
    let mut output = BufReader::new(follower.stdout.take().expect("the stream is piped")).lines();
    for i in 0..10 {
        if i == 5 {
            server.kill();
            server.restart();
            proxy.forward_to(server.address());
        }
        producer.send(format!("record {i}").as_bytes()).expect("durable");
        let line = output.next().expect("the follower continues").expect("text");
        assert_eq!(line, format!("record {i}"));
    }
    send_signal(&follower, Signal::INT);
    assert!(follower.wait().expect("the process exits").success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "stopped at position 11\n");
}

fn send_signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a child has an id"), signal).expect("the signal can be sent");
}

/// Every record has a unique word, so each word must be counted once. The file must be
/// correct at every moment, not only at the end.
#[test]
fn reliable_processing_counts_each_record_once_despite_kills() {
    let Faults { cycles, mut random, .. } = Faults::new(40);
    let mut server = TestServer::start();
    let proxy = Proxy::start(server.address(), 1);
    let client = connect(proxy.address());
    client.create_log("orders", LogConfig::default(), false).expect("a new log");
    let scratch = Scratch::new("reliable");
    let file = scratch.join("totals.txt");
    let stop = AtomicBool::new(false);

    let (produced, advanced_runs) = std::thread::scope(|scope| {
        let over = wait::SetOnDrop(&stop);
        let producing = scope.spawn(|| {
            let producer = client.producer("orders").in_flight_bytes(16 << 10).open();
            let producer = producer.expect("it can be opened");
            while !stop.load(Ordering::Relaxed) {
                let record = format!("word{} and more", producer.next_sequence());
                let ack = producer.append(record.as_bytes()).expect("taken");
                // Many small commits: the file is replaced after each.
                if ack.sequence().is_multiple_of(50) {
                    ack.position().expect("durable");
                }
                if ack.sequence() >= 30_000 {
                    break;
                }
            }
            let produced = producer.next_sequence();
            producer.close().expect("every record is acked");
            produced
        });
        let mut advanced_runs = 0;
        let mut counted = 0;
        for cycle in 0..cycles {
            let path = file.to_str().expect("a plain path");
            let mut counter = example("reliable", proxy.address(), &["orders", path]);
            let mut counter = counter.spawn().expect("it can be started");
            let mut line = String::new();
            let mut stderr = BufReader::new(counter.stderr.take().expect("the stream is piped"));
            stderr.read_line(&mut line).expect("the program prints a line");
            assert_eq!(line, format!("counting from position {counted}\n"), "cycle {cycle}");
            // The kill comes after a few replaced files, at a random moment.
            for _ in 0..random.between(0, 4) {
                let before = std::fs::read(&file).ok();
                wait::until_true("a new file", PATIENCE, || std::fs::read(&file).ok() != before);
            }
            std::thread::sleep(Duration::from_millis(random.between(0, 20)));
            if cycle % 8 == 4 {
                server.kill();
                server.restart();
                proxy.forward_to(server.address());
            }
            assert!(
                counter.try_wait().expect("the child has a status").is_none(),
                "the counter is still running"
            );
            counter.kill().expect("the process is running");
            counter.wait().expect("the process exits");
            let now = check_counts(&file);
            assert!(now >= counted, "the count never decreases: {counted}, then {now}");
            advanced_runs += u64::from(now > counted);
            counted = now;
        }
        drop(over);
        (producing.join().expect("the thread does not panic"), advanced_runs)
    });

    let path = file.to_str().expect("a plain path");
    let mut counter = example("reliable", proxy.address(), &["orders", path]);
    let mut counter = counter.spawn().expect("it can be started");
    wait::until_true("all is counted", PATIENCE, || check_counts(&file) == produced);
    counter.kill().expect("the process is running");
    counter.wait().expect("the process exits");
    println!(
        "{produced} records counted once, {cycles} kills, {advanced_runs} of them while counting"
    );
    assert!(advanced_runs * 2 >= cycles, "only {advanced_runs} of {cycles} runs did anything");
}

/// Checks that the file counts exactly the records before its checkpoint, and returns
/// their number.
fn check_counts(file: &Path) -> u64 {
    let Ok(text) = std::fs::read_to_string(file) else { return 0 };
    let mut lines = text.lines();
    let checkpoint: styx_client::Checkpoint =
        lines.next().expect("a first line").parse().expect("a checkpoint");
    let mut words: Vec<u64> = lines
        .map(|line| line.strip_prefix("1 word").expect("counted once").parse().expect("a number"))
        .collect();
    words.sort_unstable();
    assert!(
        words.iter().copied().eq(0..checkpoint.next.0),
        "each before {checkpoint}, and no other"
    );
    checkpoint.next.0
}

#[test]
fn reliable_processing_rejects_a_replaced_log() {
    let server = TestServer::start();
    let client = connect(server.address());
    client.create_log("orders", LogConfig::default(), false).expect("a new log");
    client.producer("orders").open().expect("it can be opened").send(b"word0").expect("durable");
    let scratch = Scratch::new("reliable");
    let file = scratch.join("totals.txt");
    let path = file.to_str().expect("a plain path");
    let mut command = example("reliable", server.address(), &["orders", path]);
    let mut counter = command.spawn().expect("it can be started");
    wait::until_true("it is counted", PATIENCE, || check_counts(&file) == 1);
    client.truncate_log("orders").expect("the log exists");
    client.producer("orders").open().expect("it can be opened").send(b"word0").expect("durable");
    assert!(!counter.wait().expect("the process exits").success(), "the log was truncated");
    let done = cli::run(command, b"");
    assert!(done.code == 1 && done.stderr.contains("log_changed"), "{}", done.stderr);
    assert_eq!(check_counts(&file), 1, "no other record was counted");
}

/// The import reads its lines from a pipe that does not end, so that every kill comes
/// in the middle.
#[test]
fn an_import_killed_and_repeated_duplicates_no_line() {
    let Faults { cycles, mut random, .. } = Faults::new(15);
    let server = TestServer::start();
    let client = connect(server.address());
    let lines: Vec<String> = (0..20_000)
        .map(|i| format!("{i},{}\n", "x".repeat(random.between(0, 150) as usize)))
        .collect();
    let import = || example("import", server.address(), &["flights", "/dev/stdin"]);
    let mut sent = 0;
    for cycle in 0..cycles {
        let more = random.between(1, 2 * lines.len() as u64 / (cycles + 1)) as usize;
        sent = (sent + more).min(lines.len() - 1);
        let mut importer = import().stdin(Stdio::piped()).spawn().expect("it can be started");
        let mut pipe = importer.stdin.take().expect("the stream is piped");
        let before = end_of(&client, "flights");
        std::thread::scope(|scope| {
            let text = lines[..sent].concat();
            // The pipe stays open, so the import is killed at the latest while it waits
            // for the next line.
            let writing = scope.spawn(move || {
                let _ = pipe.write_all(text.as_bytes());
                pipe
            });
            let target = random.between(before, sent as u64);
            wait::until_true("lines in the log", PATIENCE, || end_of(&client, "flights") >= target);
            importer.kill().expect("the process is running");
            drop(writing.join().expect("the thread does not panic"));
        });
        importer.wait().expect("the process exits");
        let after = end_of(&client, "flights");
        assert!((before..=sent as u64).contains(&after), "cycle {cycle}: {before} to {after}");
    }
    let text = lines.concat();
    let end = end_of(&client, "flights");
    assert!(
        (1..lines.len() as u64).contains(&end),
        "the kills hit the middle of the import: {end}"
    );
    let printed = cli::run(import(), text.as_bytes()).expect_text();
    let left = lines.len() as u64 - end;
    assert_eq!(printed, format!("{end} lines are in the log\n{left} lines imported\n"));
    assert!(
        lines_of(&client, "flights") == text.as_bytes(),
        "the log has exactly the lines of the file"
    );
    let printed = cli::run(import(), text.as_bytes()).expect_text();
    assert_eq!(printed, "20000 lines are in the log\n0 lines imported\n");
    assert_eq!(end_of(&client, "flights"), 20_000);
}

#[test]
fn the_flights_are_imported_once_despite_kills() {
    let path = binary::target().join("flights/flights.csv");
    let Ok(flights) = std::fs::read(&path) else {
        return skip("the flights' data is not there: cargo xtask flights");
    };
    let server = TestServer::start();
    let client = connect(server.address());
    let path = path.to_str().expect("a plain path");
    let Faults { cycles, mut random, .. } = Faults::new(10);
    let mut midway = 0;
    for _ in 0..cycles {
        let mut import = example("import", server.address(), &["flights", path]);
        let mut importer = import.spawn().expect("it can be started");
        // The fault comes at a random moment.
        std::thread::sleep(Duration::from_millis(random.between(10, 300)));
        importer.kill().expect("the importer was not reaped");
        importer.wait().expect("the process exits");
        midway += u64::from((1..336_777).contains(&end_of(&client, "flights")));
    }
    let import = example("import", server.address(), &["flights", path]);
    let printed = cli::run(import, b"").expect_text();
    println!("{midway} of {cycles} kills interrupted the import; then: {printed}");
    assert!(lines_of(&client, "flights") == flights, "the log has exactly the lines of the file");
}
