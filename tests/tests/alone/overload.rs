//! More load than the server can take: memory stays bounded, a request that waits too
//! long is told when to retry, and acked records are stored. The latency of other
//! clients is printed and not checked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_tests::api::{read_binary, write_one};
use styx_tests::{Connection, Request, Response, Settings, TestServer, wait};

use crate::{alone, beside_idle_tests};

const MIB: u64 = 1 << 20;
const RECORD_BYTES: usize = 1_000_000;
/// Sixteen of them fill a block.
const LARGE_RECORD_BYTES: usize = (1 << 16) - 8;
const LARGE_BLOCKS: usize = 24;

/// A server with an in-flight budget of 4 MiB.
fn small() -> TestServer {
    let settings = Settings::default().set("max_in_flight_bytes = 4194304");
    let server = settings.set("tcp_timeout = 2").start();
    server.create("a");
    server
}

/// Sends the head of an append and the first bytes of its record.
fn begin(server: &TestServer, log: &str, bytes: usize) -> Connection {
    let mut connection = server.connect();
    let head = write_one(log, vec![0; RECORD_BYTES]).head_bytes();
    connection.send(&head).expect("the head can be sent");
    connection.send(&vec![b'x'; bytes]).expect("a part can be sent");
    connection
}

/// Whether the append succeeded. A refusal must say when to retry.
#[track_caller]
fn is_accepted(answer: Response) -> bool {
    if answer.status() == 200 {
        return true;
    }
    assert!(answer.header("Retry-After").is_some(), "{}", answer.shown());
    let _ = answer.expect_error(503, "overloaded");
    false
}

/// Appends small records until `done`. Returns the latency of each, and the number of
/// successful appends.
fn append_small(server: &TestServer, done: &AtomicBool) -> (Vec<Duration>, u64) {
    let (mut took, mut accepted) = (Vec::new(), 0);
    let mut connection = server.connect();
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = connection.exchange(&write_one("honest", "honest")).expect("an answer");
        accepted += u64::from(is_accepted(answer));
        took.push(start.elapsed());
    }
    took.sort_unstable();
    (took, accepted)
}

#[test]
fn three_times_the_load_is_rejected_in_bounded_memory() {
    let _idle = beside_idle_tests();
    let server = small();
    server.create("honest");
    let before = server.memory_bytes();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = wait::SetOnDrop(&done);
        let others = scope.spawn(|| append_small(&server, &done));
        // Three times the budget, sent so slowly that all of it arrives at the same
        // time.
        let senders: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = begin(&server, "a", 0);
                    for part in vec![b'x'; RECORD_BYTES].chunks(RECORD_BYTES / 60) {
                        if connection.send(part).is_err() {
                            break;
                        }
                        // The pace of a slow sender.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    is_accepted(connection.response("POST").expect("an answer"))
                })
            })
            .collect();
        let accepted = senders.into_iter().map(|s| s.join().expect("every answer is valid"));
        let accepted = accepted.filter(|accepted| *accepted).count();
        done.store(true, Ordering::Relaxed);
        let (took, small_accepted) = others.join().expect("every answer is valid");
        let quantile = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        let (median, p99) = (quantile(50), quantile(99));
        println!(
            "{accepted} of 12 large records accepted; {} small ones at the same time, {small_accepted} accepted, median {median:?}, p99 {p99:?}",
            took.len()
        );
        assert!(accepted < 12, "nothing was refused, so there was no overload");
        assert_eq!(server.read_all("a").len(), accepted, "exactly the acked records");
        assert_eq!(server.read_all("honest").len() as u64, small_accepted);
    });
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("{} MiB more memory", more / MIB);
    assert!(more < 100 * MIB, "{} MiB for a budget of 4", more / MIB);
    assert!(
        is_accepted(server.ask(&write_one("a", vec![b'x'; RECORD_BYTES]))),
        "the overload is over"
    );
    assert_eq!(server.count("styx_in_flight_bytes"), 0, "no memory is reserved");
}

/// Five bodies fill the budget and then send `drip` twice a second. Another append
/// must still succeed.
fn check_drip(drip: &'static [u8], settings: Settings) {
    let server = settings.set("max_in_flight_bytes = 4194304").start();
    server.create("a");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = wait::SetOnDrop(&done);
        for _ in 0..5 {
            scope.spawn(|| {
                let mut connection = begin(&server, "a", RECORD_BYTES - 60_000);
                while !done.load(Ordering::Relaxed) && connection.send(drip).is_ok() {
                    // The pace of a trickling body.
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
        }
        wait::until_true("the memory to be full", Duration::from_secs(10), || {
            server.count("styx_in_flight_bytes") > 3 * MIB
        });
        let start = Instant::now();
        wait::until_true("an honest append", Duration::from_secs(20), || {
            is_accepted(server.ask(&write_one("a", vec![b'x'; RECORD_BYTES])))
        });
        println!("an append succeeded after {:?}", start.elapsed());
    });
}

#[test]
fn a_fast_start_does_not_let_a_body_trickle_afterwards() {
    let _idle = beside_idle_tests();
    // The rate used to be measured over a body's whole life. Five bodies with a fast
    // start could keep all memory for days.
    check_drip(b"x", Settings::default().set("tcp_timeout = 2"));
}

#[test]
fn slow_bodies_release_memory_that_others_wait_for() {
    let _idle = beside_idle_tests();
    // Fast enough for the timeout of 30 s, but too slow to hold memory that others need.
    check_drip(b"0123456789", Settings::default());
}

#[test]
fn a_connection_flood_is_refused_and_busy_connections_continue() {
    let _alone = alone();
    let settings = Settings::default().set("max_connections = 20");
    let server = settings.set("idle_timeout = 60").start();
    server.create("a");
    // Its request is under way throughout: an idle connection would be closed.
    let mut inside = server.connect();
    let bytes = write_one("a", "during").bytes();
    inside.send(&bytes[..bytes.len() - 2]).expect("a part can be sent");
    let before = server.memory_bytes();
    let (mut refused_count, mut flood) = (0, Vec::new());
    for _ in 0..600 {
        flood.push(server.connect());
    }
    for connection in flood.iter_mut().rev().take(600 - 20) {
        match connection.exchange(&Request::get("/logs")) {
            Ok(answer) if answer.status() == 503 => {
                assert!(answer.header("Retry-After").is_some(), "{}", answer.shown());
                refused_count += 1;
            }
            // Beyond a number of simultaneous refusals, the server only closes.
            Ok(_) | Err(_) => {}
        }
    }
    assert!(refused_count > 0, "at least one connection gets a 503");
    let start = Instant::now();
    inside.send(&bytes[bytes.len() - 2..]).expect("the rest can be sent");
    let _ = inside.response("POST").expect("an answer").expect(200);
    println!(
        "{refused_count} connections got a 503; an append during the flood took {:?}",
        start.elapsed()
    );
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 32 * MIB, "{} MiB for refused connections", more / MIB);
    drop(flood);
    wait::until_true("room again", Duration::from_secs(10), || {
        let again = Connection::try_open(server.address());
        again.and_then(|mut c| c.exchange(&Request::get("/logs"))).is_ok_and(|a| a.status() == 200)
    });
}

/// A log that is larger than all socket buffers, in blocks of the maximum size.
fn with_a_large_log(settings: Settings) -> TestServer {
    let server = settings.start();
    server.create("a");
    server.fill("a", LARGE_BLOCKS);
    server
}

/// Readers that stop reading after the head of the response.
fn stuck(server: &TestServer, count: u64, request: &Request) -> Vec<Connection> {
    let open = |_| {
        let mut connection = server.connect();
        connection.send(&request.bytes()).expect("the request can be sent");
        connection.head("GET").expect("the answer begins");
        connection
    };
    (0..count).map(open).collect()
}

#[test]
fn stalled_readers_share_the_response_budget_and_none_is_refused() {
    let _alone = alone();
    // Each stalled reader used to hold about 1 MiB until it was disconnected.
    let settings = Settings::released().set("max_answer_bytes = 8388608");
    let server = with_a_large_log(settings.set("tcp_timeout = 20"));
    // Memory that the first responses allocate once.
    let read_bytes = || server.ask(&read_binary("a", "")).expect(200).body.len();
    let bytes = LARGE_BLOCKS * 16 * (LARGE_RECORD_BYTES + 4);
    assert_eq!(read_bytes(), bytes);
    let before = server.memory_bytes();
    let events = Request::get("/logs/a/records").header("Accept", "text/event-stream");
    let upgrade = |to: &str| {
        let request = Request::get("/logs/a/records").header("Connection", "Upgrade");
        request.header("Upgrade", to).header("X-Styx-Timeout", "20")
    };
    let websocket = upgrade("websocket").header("Sec-WebSocket-Version", "13");
    let websocket = websocket.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let readers = [
        stuck(&server, 200, &read_binary("a", "")),
        stuck(&server, 50, &events),
        stuck(&server, 50, &upgrade("styx/0")),
        stuck(&server, 50, &websocket),
    ];
    let held = server.count("styx_answer_bytes");
    let more = server.memory_bytes().saturating_sub(before);
    println!("350 stuck readers: {} KiB of answers, {} KiB of memory", held >> 10, more >> 10);
    assert!(held > 7 * MIB, "only {held} bytes of answers, too few to test the limit");
    // Beyond the 8 MiB, every reader may hold 64 KiB, or one record that is larger.
    assert!(held < 8 * MIB + 350 * 128 * 1024, "{held} bytes of answers");
    // Includes what the allocator keeps. Without a limit it was three times that.
    assert!(more < 128 * MIB, "{} MiB more memory", more / MIB);
    let start = Instant::now();
    assert_eq!(read_bytes(), bytes, "a reader gets everything, in small pieces");
    println!("a complete read at the same time took {:?}", start.elapsed());
    drop(readers);
    wait::until_true("what they held to be free", Duration::from_secs(10), || {
        server.count("styx_answer_bytes") == 0
    });
}

#[test]
fn each_stalled_reader_of_a_large_log_uses_a_bounded_buffer() {
    let _alone = alone();
    let server = with_a_large_log(Settings::released().set("tcp_timeout = 5"));
    let before = server.memory_bytes();
    let readers = stuck(&server, 100, &read_binary("a", ""));
    let more = server.memory_bytes().saturating_sub(before);
    println!("{} stuck readers use {} KiB each", readers.len(), (more >> 10) / 100);
    let start = Instant::now();
    for number in 0..20 {
        assert_eq!(server.append("a", "on it goes"), LARGE_BLOCKS as u64 * 16 + number + 1);
    }
    println!("20 appends at the same time took {:?}", start.elapsed());
    assert!(more < 300 * MIB, "100 stuck readers hold {} MiB", more / MIB);

    // A reader that reads nothing for `tcp_timeout` is disconnected and its memory freed.
    wait::until_true("stuck readers to be disconnected", Duration::from_secs(20), || {
        server.count("styx_connections") < 10
    });
    drop(readers);
    let again = stuck(&server, 100, &read_binary("a", ""));
    let peak = server.memory_bytes_most().saturating_sub(before);
    println!("another {} use at most {} KiB each", again.len(), (peak >> 10) / 100);
    assert!(peak < 400 * MIB, "memory grows with every round: {} MiB", peak / MIB);
}
