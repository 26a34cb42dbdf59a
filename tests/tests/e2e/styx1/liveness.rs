//! Liveness of styx/1 streams: heartbeats, silent and stalled peers, and errors that
//! end a stream.

use std::io::Write as _;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::{Event, Outcome, Route};
use styx_tests::styx1::{block, consume, consume_request, framed, open, produce, produce_request};
use styx_tests::{Request, Settings, TestServer, wait};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn heartbeats_are_sent_at_half_the_peers_timeout() {
    let server = TestServer::start();
    server.create("a");
    let announce = |request: Request| request.header("X-Styx-Timeout", 2);
    let producer = announce(produce_request("a", ""));
    let consumer = announce(consume_request("a", "follow=true"));
    for (request, route) in
        [(producer, Route::ServerToProducer), (consumer, Route::ServerToConsumer)]
    {
        let mut stream = open(&server, &request, route);
        let begun = Instant::now();
        let beats = if route == Route::ServerToConsumer { 4 } else { 3 };
        for _ in 0..beats {
            assert!(matches!(stream.next(), Some(Event::Heartbeat(_))));
        }
        let took = begun.elapsed();
        assert!(took > 2 * SECOND && took < 5 * SECOND, "three heartbeats in {took:?}");
    }
}

#[test]
fn a_silent_peer_is_disconnected_and_one_with_heartbeats_is_not() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut silent = [produce(&server, "a", ""), consume(&server, "a", "follow=true")];
    let mut alive = [produce(&server, "a", ""), consume(&server, "a", "follow=true")];
    let begun = Instant::now();
    let mut beats = 0;
    while begun.elapsed() < 6 * SECOND {
        for stream in &mut alive {
            stream.beat();
            stream.is_quiet_for(SECOND / 4);
        }
        beats += 1;
    }
    assert!(beats > 5);
    for stream in &mut silent {
        let fault = stream.fails_with(Code::UnknownError);
        assert!(fault.message.contains("heartbeat"), "{fault:?}");
        assert_eq!(fault.outcome, Outcome::NotAppended);
    }
    alive[0].send_blocks(&[block(&["still here"])]);
    let _ = alive[0].acked(1);
    assert_eq!(alive[1].records(0, 1), ["still here"]);
}

#[test]
fn bytes_of_an_incomplete_block_count_as_activity() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let frame = framed(&[block(&["1"])]);
    for bytes in frame.chunks(15) {
        producer.is_quiet_for(SECOND / 2);
        producer.send(bytes);
    }
    let _ = producer.acked(1);
}

/// Fills a log with blocks of 900 KiB.
fn fill(server: &TestServer, log: &str, blocks: u64) {
    server.create(log);
    let mut producer = produce(server, log, "");
    let many = block(&vec![vec![b'x'; 1016]; 900]);
    for _ in 0..blocks {
        producer.send_blocks(std::slice::from_ref(&many));
    }
    let _ = producer.acked(blocks * 900);
}

#[test]
fn a_stalled_consumer_with_heartbeats_uses_bounded_memory() {
    // A machine that stalls for some seconds is not the end of the consumers that the test beats.
    let server = Settings::default().set("tcp_timeout = 9").direct().start();
    fill(&server, "a", 64);
    let before = server.memory_bytes();
    for features in ["", "lz4, zstd"] {
        let mut stalled: Vec<_> = (0..20)
            .map(|_| {
                let request = consume_request("a", "").header("X-Styx-Features", features);
                open(&server, &request, Route::ServerToConsumer)
            })
            .collect();
        let mut silent = consume(&server, "a", "");
        let begun = Instant::now();
        // Longer than any limit of the kernel.
        while begun.elapsed() < 13 * SECOND {
            for stream in &mut stalled {
                stream.beat();
            }
            std::thread::park_timeout(SECOND / 2);
        }
        let more = server.memory_bytes().saturating_sub(before) >> 20;
        assert!(more < 60, "20 stalled consumers hold {more} MiB");
        for from in (0..64 * 900).step_by(900) {
            // Reading everything may take longer than `tcp_timeout`.
            stalled[7].beat();
            assert_eq!(stalled[7].records(from, 900).len(), 900);
        }
        stalled[7].ends();
        // The silent consumer was disconnected in the middle.
        let rest = silent.connection.until_close();
        assert!(rest.is_err() || rest.is_ok_and(|rest| rest.len() < 50 << 20));
    }
}

#[test]
fn stalled_consumers_share_the_response_budget_and_none_is_refused() {
    let server = Settings::default().set("max_answer_bytes = 4194304").start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let small = block(&vec![vec![b'x'; 1016]; 16]);
    for _ in 0..64 {
        producer.send_blocks(&vec![small.clone(); 50]);
    }
    let _ = producer.acked(64 * 50 * 16);
    let held = || {
        let held = server.count("styx_answer_bytes");
        assert!(held <= (4 << 20) + 20 * (64 << 10), "{held} bytes are held");
        held
    };
    let stalled: Vec<_> = (0..20).map(|_| consume(&server, "a", "")).collect();
    // They read only their 101s. The server holds what the sockets do not take: of each
    // consumer a chunk of at most 64 KiB of whole blocks, or more if others left room.
    wait::until_true("consumers to stall", 20 * SECOND, || {
        let before = held();
        std::thread::sleep(SECOND / 4);
        held() == before && before >= 20 * (48 << 10)
    });
    let mut reader = consume(&server, "a", "");
    assert_eq!(reader.records(0, 64 * 50 * 16).len(), 64 * 50 * 16);
    reader.ends();
    drop(stalled);
    wait::until_true("what they held to be free", 20 * SECOND, || held() == 0);
}

#[test]
fn a_stopping_server_acks_received_blocks_and_sends_shutting_down() {
    let mut server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let mut consumer = consume(&server, "a", "follow=true");
    producer.send_blocks(&[block(&["one"])]);
    let _ = producer.acked(1);
    assert_eq!(consumer.records(0, 1), ["one"]);
    producer.send_blocks(&[block(&["two"])]);
    server.ask_to_stop();
    let mut acked = 1;
    let fault = loop {
        match producer.next_but_heartbeats() {
            Some(Event::Ack(ack)) => acked = ack.count,
            Some(Event::Error(fault)) => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.code, Code::ShuttingDown, "{fault:?}");
    assert_eq!(fault.outcome, Outcome::NotAppended);
    assert!(fault.retry_after_ms > 0);
    producer.is_closed();
    let _ = consumer.fails_with(Code::ShuttingDown);
    drop((producer, consumer));
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success() && stopped.took < 3 * SECOND, "{stopped:?}");
    server.restart();
    assert_eq!(server.info("a")["end_position"], acked);
}

#[test]
fn a_producer_that_keeps_sending_still_reads_the_error() {
    // A socket closed with unread bytes is reset, and the error used to be lost.
    let server = TestServer::start();
    server.create("a");
    for _ in 0..20 {
        let mut producer = produce(&server, "a", "");
        let good = framed(&[block(&vec![vec![b'x'; 1016]; 900])]);
        let mut sending = producer.connection.socket().try_clone().expect("a second handle");
        producer.send(&[9; 8]);
        let thread = std::thread::spawn(move || {
            for _ in 0..20 {
                sending.write_all(&good).expect("the server reads or discards the bytes");
            }
        });
        let _ = producer.fails_with(Code::MalformedRecords);
        thread.join().expect("it was sent");
    }
}
