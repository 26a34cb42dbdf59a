//! More than the server can take: memory stays bounded, whoever has to wait too
//! long is told when to come again, and what was acked is there. How fast honest
//! clients are beside it is printed and decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_tests::api::{read_binary, write_binary, write_one};
use styx_tests::{Connection, Request, Response, Settings, TestServer, wait};

const MIB: u64 = 1 << 20;
const RECORD_BYTES: usize = 1_000_000;
/// Sixteen of them fill a block.
const LARGE_RECORD_BYTES: usize = (1 << 16) - 8;
const LARGE_BLOCKS: usize = 24;

/// Bodies of 4 MiB may be in memory in all.
fn small() -> TestServer {
    let settings = Settings::default().set("max_in_flight_bytes = 4194304");
    let server = settings.set("tcp_timeout = 2").start();
    server.create("a");
    server
}

/// A record of which so many bytes are sent.
fn begin(server: &TestServer, log: &str, bytes: usize) -> Connection {
    let mut connection = server.connect();
    let head = write_one(log, vec![0; RECORD_BYTES]).head_bytes();
    connection.send(&head).expect("the head can be sent");
    connection.send(&vec![b'x'; bytes]).expect("a part can be sent");
    connection
}

/// Whether it was taken; refused it must say when to come again.
#[track_caller]
fn was_taken(answer: Response) -> bool {
    if answer.status() == 200 {
        return true;
    }
    assert!(answer.header("Retry-After").is_some(), "{}", answer.shown());
    let _ = answer.expect_error(503, "overloaded");
    false
}

/// Appends small records until it is done; how long each took, and how many were
/// taken.
fn honest(server: &TestServer, done: &AtomicBool) -> (Vec<Duration>, u64) {
    let (mut took, mut taken) = (Vec::new(), 0);
    let mut connection = server.connect();
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = connection.exchange(&write_one("honest", "honest")).expect("an answer");
        taken += u64::from(was_taken(answer));
        took.push(start.elapsed());
    }
    took.sort_unstable();
    (took, taken)
}

#[test]
fn three_times_the_load_is_refused_in_bounded_memory() {
    let server = small();
    server.create("honest");
    let before = server.memory_bytes();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        let beside = scope.spawn(|| honest(&server, &done));
        // Three times as much as there is room for, sent so slowly that all of it
        // is there at the same time.
        let senders: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = begin(&server, "a", 0);
                    for part in vec![b'x'; RECORD_BYTES].chunks(RECORD_BYTES / 60) {
                        if connection.send(part).is_err() {
                            break;
                        }
                        // This is what the test is about: slow senders.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    was_taken(connection.response("POST").expect("an answer"))
                })
            })
            .collect();
        let taken = senders.into_iter().map(|s| s.join().expect("it was answered well"));
        let taken = taken.filter(|taken| *taken).count();
        done.store(true, Ordering::Relaxed);
        let (took, honest_taken) = beside.join().expect("it was answered well");
        let quantile = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        let (median, p99) = (quantile(50), quantile(99));
        println!(
            "{taken} of 12 large records taken; beside them {} small ones, {honest_taken} taken, median {median:?}, p99 {p99:?}",
            took.len()
        );
        assert!(taken < 12, "nothing was refused: that was no overload");
        assert_eq!(server.read_all("a").len(), taken, "what was acked and nothing else");
        assert_eq!(server.read_all("honest").len() as u64, honest_taken);
    });
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("{} MiB of memory more", more / MIB);
    assert!(more < 100 * MIB, "{} MiB for a budget of 4", more / MIB);
    assert!(was_taken(server.ask(&write_one("a", vec![b'x'; RECORD_BYTES]))), "it is over");
    assert_eq!(metric(&server, "styx_in_flight_bytes"), 0, "nothing is kept");
}

/// Sets a flag when it is dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Five bodies that fill the memory and then bring `drip` twice a second; an
/// honest append must be taken all the same.
fn check_drip(drip: &'static [u8], settings: Settings) {
    let server = settings.set("max_in_flight_bytes = 4194304").start();
    server.create("a");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for _ in 0..5 {
            scope.spawn(|| {
                let mut connection = begin(&server, "a", RECORD_BYTES - 60_000);
                while !done.load(Ordering::Relaxed) && connection.send(drip).is_ok() {
                    // This is what the test is about.
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
        }
        wait::until_true("the memory to be full", Duration::from_secs(10), || {
            metric(&server, "styx_in_flight_bytes") > 3 * MIB
        });
        let start = Instant::now();
        wait::until_true("an honest append", Duration::from_secs(20), || {
            was_taken(server.ask(&write_one("a", vec![b'x'; RECORD_BYTES])))
        });
        println!("an honest append was taken after {:?}", start.elapsed());
    });
}

#[test]
fn a_body_earns_no_right_to_drip_by_being_fast_first() {
    // Slowness was judged over a body's whole life: five that had brought much at
    // once kept all memory, and everybody else out, for days.
    check_drip(b"x", Settings::default().set("tcp_timeout = 2"));
}

#[test]
fn memory_that_others_wait_for_is_not_kept_by_slow_bodies() {
    // Fast enough for the time-out, of 30 s, but not to sit on what others need.
    check_drip(b"0123456789", Settings::default());
}

#[test]
fn a_flood_of_connections_is_refused_and_those_inside_go_on() {
    let settings = Settings::default().set("max_connections = 20").set("tcp_timeout = 2");
    let server = settings.set("idle_timeout = 60").start();
    server.create("a");
    let mut inside = server.connect();
    let mut append = |text: &str| inside.exchange(&write_one("a", text)).expect("an answer");
    let _ = append("before").expect(200);
    let before = server.memory_bytes();
    let (mut told, mut flood) = (0, Vec::new());
    for _ in 0..600 {
        flood.push(server.connect());
    }
    for connection in flood.iter_mut().rev().take(600 - 20) {
        match connection.exchange(&Request::get("/logs")) {
            Ok(answer) if answer.status() == 503 => {
                assert!(answer.header("Retry-After").is_some(), "{}", answer.shown());
                told += 1;
            }
            // Beyond a number of refusals at a time they are just closed.
            Ok(_) | Err(_) => {}
        }
    }
    assert!(told > 0, "somebody is told why");
    let start = Instant::now();
    let _ = append("during").expect(200);
    println!("{told} were told; an append beside the flood took {:?}", start.elapsed());
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 32 * MIB, "{} MiB for connections that were refused", more / MIB);
    drop(flood);
    wait::until_true("room again", Duration::from_secs(10), || {
        let again = Connection::try_open(server.address());
        again.and_then(|mut c| c.exchange(&Request::get("/logs"))).is_ok_and(|a| a.status() == 200)
    });
}

/// A log of more than two kernels hold, in blocks as large as there are.
fn with_a_large_log(settings: Settings) -> TestServer {
    let server = settings.start();
    server.create("a");
    let records = vec![vec![b'x'; LARGE_RECORD_BYTES]; 16];
    let mut connection = server.connect();
    for _ in 0..LARGE_BLOCKS {
        let _ = connection.exchange(&write_binary("a", &records)).expect("an answer").expect(200);
    }
    server
}

/// Readers that stop once the answer has begun.
fn stuck(server: &TestServer, count: u64, request: &Request) -> Vec<Connection> {
    let open = |_| {
        let mut connection = server.connect();
        connection.send(&request.bytes()).expect("the request can be sent");
        connection.head("GET").expect("the answer begins");
        connection
    };
    (0..count).map(open).collect()
}

/// A number without labels.
fn metric(server: &TestServer, name: &str) -> u64 {
    let metrics = server.ask(&Request::get("/metrics")).expect(200);
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn stuck_readers_share_what_answers_may_hold_and_nobody_is_refused() {
    // Each held about 1 MiB for as long as it was not let go, however many they were.
    let settings = Settings::default().set("max_answer_bytes = 8388608");
    let server = with_a_large_log(settings.set("tcp_timeout = 20"));
    // What the first answers cost once stays.
    let whole = || server.ask(&read_binary("a", "")).expect(200).body.len();
    let bytes = LARGE_BLOCKS * 16 * (LARGE_RECORD_BYTES + 4);
    assert_eq!(whole(), bytes);
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
    let held = metric(&server, "styx_answer_bytes");
    let more = server.memory_bytes().saturating_sub(before);
    println!("350 stuck readers: {} KiB of answers, {} KiB of memory", held >> 10, more >> 10);
    assert!(held > 7 * MIB, "{held} bytes: that was no test");
    // Beyond the 8 MiB everybody has 64 KiB, or the record that reaches beyond them.
    assert!(held < 8 * MIB + 350 * 128 * 1024, "{held} bytes of answers");
    // With what the allocator keeps; without a bound it was three times that.
    assert!(more < 128 * MIB, "{} MiB of memory more", more / MIB);
    let start = Instant::now();
    assert_eq!(whole(), bytes, "who reads gets everything, in small pieces");
    println!("a whole read beside them took {:?}", start.elapsed());
    drop(readers);
    wait::until_true("what they held to be free", Duration::from_secs(10), || {
        metric(&server, "styx_answer_bytes") == 0
    });
}

#[test]
fn many_stuck_readers_of_a_large_log_cost_a_bounded_buffer_each() {
    let server = with_a_large_log(Settings::default().set("tcp_timeout = 5"));
    let before = server.memory_bytes();
    let readers = stuck(&server, 100, &read_binary("a", ""));
    let more = server.memory_bytes().saturating_sub(before);
    println!("{} stuck readers: {} KiB each", readers.len(), (more >> 10) / 100);
    let start = Instant::now();
    for number in 0..20 {
        assert_eq!(server.append("a", "on it goes"), LARGE_BLOCKS as u64 * 16 + number + 1);
    }
    println!("20 appends beside them took {:?}", start.elapsed());
    assert!(more < 300 * MIB, "100 stuck readers hold {} MiB", more / MIB);

    // Who does not read for `tcp_timeout` is let go, and with it what it held.
    wait::until_true("stuck readers to be let go", Duration::from_secs(20), || {
        metric(&server, "styx_connections") < 10
    });
    drop(readers);
    let again = stuck(&server, 100, &read_binary("a", ""));
    let most = server.memory_bytes_most().saturating_sub(before);
    println!("another {}: {} KiB each at most", again.len(), (most >> 10) / 100);
    assert!(most < 400 * MIB, "memory grows with every round: {} MiB", most / MIB);
}
