//! The in-flight budget, which producers of styx/1 share with all other connections:
//! a producer that waits for memory is served, and a slow one releases it.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::process::Signal;
use styx_protocol::Code;
use styx_protocol::frame::{self, Event, Outcome, Route};
use styx_tests::styx1::{Styx1Stream, block, framed, open, produce, produce_request};
use styx_tests::{Settings, TestServer, binary, strace, wait};

use crate::beside_idle_tests;

const SECOND: Duration = Duration::from_secs(1);
/// The size of a large record, and the size of the part that is sent of an incomplete one.
const LARGE_BYTES: usize = 2_000_000;
const PART_BYTES: usize = 1_500_000;

/// A budget for a few large records.
fn scarce() -> Settings {
    Settings::default().set("max_in_flight_bytes = 8388608")
}

fn create(server: &TestServer) {
    server.create_with("a", "max_record_size=2097152");
}

fn large() -> Vec<u8> {
    framed(&[block(&[vec![b'x'; LARGE_BYTES]])])
}

fn heartbeat() -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode_heartbeat(None, &mut bytes);
    bytes
}

/// Checks that another large record is acked while `keeping` send a few bytes at a time.
#[track_caller]
fn check_not_starved(server: &TestServer, keeping: &mut [Styx1Stream], little: &[u8]) {
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut stream = produce(server, "a", "");
            stream.send(&large());
            stream.acked(1)
        });
        let start = Instant::now();
        while !honest.is_finished() {
            if start.elapsed() > 25 * SECOND {
                // Otherwise the scope would wait for the other producer for ever.
                server.tell(Signal::KILL);
                panic!("the other producer was starved");
            }
            std::thread::sleep(Duration::from_millis(50));
            for stream in &mut *keeping {
                // The server may have disconnected it.
                let _ = stream.connection.send(little);
            }
        }
        assert_eq!(honest.join().expect("the append succeeds").len(), 1);
    });
}

#[test]
fn a_trickling_block_releases_memory_that_others_wait_for() {
    let _idle = beside_idle_tests();
    // Producers that had sent most of a block used to keep all memory.
    let server = scarce().start();
    create(&server);
    let mut dribbling: Vec<_> = (0..4).map(|_| produce(&server, "a", "")).collect();
    for stream in &mut dribbling {
        stream.send(&large()[..PART_BYTES]);
    }
    wait::until_true("little to be left", 10 * SECOND, || {
        server.count("styx_in_flight_bytes") > 6 << 20
    });
    check_not_starved(&server, &mut dribbling, b"x");
}

#[test]
fn heartbeats_do_not_keep_memory_in_use() {
    let _idle = beside_idle_tests();
    // A producer that had been busy and then sent heartbeats used to keep its buffers.
    let server = scarce().start();
    create(&server);
    let usual = framed(&[block(&vec![vec![b'x'; 1016]; 900])]);
    let mut busy = produce(&server, "a", "");
    (0..6).for_each(|_| busy.send(&usual));
    let _ = busy.acked(6 * 900);
    assert!(server.count("styx_in_flight_bytes") > 2 << 20);
    let start = Instant::now();
    while server.count("styx_in_flight_bytes") > 64 << 10 {
        assert!(
            start.elapsed() < 10 * SECOND,
            "{} bytes are kept",
            server.count("styx_in_flight_bytes")
        );
        busy.send(&heartbeat());
        std::thread::sleep(Duration::from_millis(50));
    }
    busy.send(&usual);
    let _ = busy.acked(7 * 900);
}

/// Producers that hold most of the budget, and are fast enough to keep it.
struct Holding {
    streams: Vec<Styx1Stream>,
    is_over: Arc<AtomicBool>,
}

impl Holding {
    fn begin(server: &TestServer) -> Holding {
        let mut streams: Vec<_> = (0..3).map(|_| produce(server, "a", "")).collect();
        for stream in &mut streams {
            stream.send(&large()[..PART_BYTES]);
        }
        wait::until_true("little to be left", 10 * SECOND, || {
            server.count("styx_in_flight_bytes") > 6 << 20
        });
        let is_over = Arc::new(AtomicBool::new(false));
        let sockets: Vec<_> = streams.iter().map(second_handle).collect();
        let ends = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                for mut socket in &sockets {
                    // Too slow to finish soon, fast enough not to be disconnected.
                    let _ = socket.write_all(&[b'x'; 4 << 10]);
                }
                std::thread::sleep(SECOND / 10);
            }
        });
        Holding { streams, is_over }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for stream in &self.streams {
            let _ = stream.connection.socket().shutdown(std::net::Shutdown::Both);
        }
    }
}

fn second_handle(stream: &Styx1Stream) -> TcpStream {
    stream.connection.socket().try_clone().expect("a second handle")
}

/// Sends bytes from another thread, because the server may not read them yet.
fn send_aside(stream: &Styx1Stream, bytes: Vec<u8>) {
    let mut socket = second_handle(stream);
    std::thread::spawn(move || socket.write_all(&bytes));
}

#[test]
fn a_producer_waiting_for_memory_gets_heartbeats_and_shutting_down() {
    let _idle = beside_idle_tests();
    // A producer that waited used to receive nothing, not even the shutdown.
    let mut server = scarce().start();
    create(&server);
    let holding = Holding::begin(&server);
    let request = produce_request("a", "").header("X-Styx-Timeout", 2);
    let mut waiting = open(&server, &request, Route::ServerToProducer);
    send_aside(&waiting, large());
    for _ in 0..3 {
        assert_eq!(waiting.next(), Some(Event::Heartbeat(None)));
    }
    server.ask_to_stop();
    let asked = Instant::now();
    let fault = waiting.fails_with(Code::ShuttingDown);
    assert_eq!(fault.outcome, Outcome::NotAppended);
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
    drop((waiting, holding));
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn a_producer_waiting_for_memory_is_told_that_an_append_failed() {
    let _idle = beside_idle_tests();
    // The producer used to learn nothing of the failure until it sent another block.
    let fault = "fdatasync:error=EIO:delay_enter=3000000:when=30+";
    let server = strace::injected(binary::styx(), fault, scarce(), create);
    let holding = Holding::begin(&server);
    let mut producer = produce(&server, "a", "");
    producer.connection.set_patience(SECOND);
    let mut sent = 0;
    // Until the sync of one takes long.
    loop {
        producer.send_blocks(&[block(&["x"])]);
        sent += 1;
        assert!(sent < 1000, "the injected fault did not occur");
        let begun = Instant::now();
        wait::until_true("an ack, or none", 10 * SECOND, || {
            server.info("a")["end_position"] == sent || begun.elapsed() > SECOND
        });
        if begun.elapsed() > SECOND {
            break;
        }
    }
    send_aside(&producer, large()[..PART_BYTES].to_vec());
    std::thread::sleep(4 * SECOND);
    drop(holding);
    producer.connection.set_patience(5 * SECOND);
    let fault = producer.fails_with(Code::OutcomeUnknown);
    assert_eq!(fault.outcome, Outcome::Unknown);
}
