//! Who is silent, who stalls and who stops: the ends of streams of styx/1 that
//! nobody asked for.

use std::io::Write as _;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::{Event, Outcome, Route};
use styx_tests::styx1::{block, consume, consume_request, framed, open, produce, produce_request};
use styx_tests::{Request, Settings, TestServer, wait};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_server_beats_at_half_of_what_its_peer_announces() {
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
        assert!(took > 2 * SECOND && took < 5 * SECOND, "three beats in {took:?}");
    }
}

#[test]
fn a_silent_peer_is_let_go_and_one_that_beats_is_not() {
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
fn bytes_of_a_block_that_takes_long_are_heard_too() {
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

/// A log of so many blocks of 900 KiB.
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
fn a_consumer_that_stalls_and_beats_may_do_so_and_costs_little() {
    let server = Settings::default().set("tcp_timeout = 2").start();
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
        // Longer than any limit of the kernel's.
        while begun.elapsed() < 13 * SECOND {
            for stream in &mut stalled {
                stream.beat();
            }
            std::thread::park_timeout(SECOND / 2);
        }
        let more = server.memory_bytes().saturating_sub(before) >> 20;
        assert!(more < 60, "20 stalled consumers hold {more} MiB");
        for from in (0..64 * 900).step_by(900) {
            // Reading all of it may take longer than it may be silent.
            stalled[7].beat();
            assert_eq!(stalled[7].records(from, 900).len(), 900);
        }
        stalled[7].ends();
        // The silent one was closed in the middle.
        let rest = silent.connection.until_close();
        assert!(rest.is_err() || rest.is_ok_and(|rest| rest.len() < 50 << 20));
    }
}

#[test]
fn stalled_consumers_share_what_answers_may_hold_and_nobody_is_refused() {
    let server = Settings::default().set("max_answer_bytes = 4194304").start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let small = block(&vec![vec![b'x'; 1016]; 16]);
    for _ in 0..64 {
        producer.send_blocks(&vec![small.clone(); 50]);
    }
    let _ = producer.acked(64 * 50 * 16);
    let held = || {
        let metrics = server.ask(&Request::get("/metrics")).expect(200);
        let metrics = metrics.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("styx_answer_bytes "));
        line.and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let stalled: Vec<_> = (0..20).map(|_| consume(&server, "a", "")).collect();
    // They read nothing but their 101s; what the sockets do not take is held.
    wait::until_true("consumers to stall", 20 * SECOND, || held() > 3 << 20);
    assert!(held() <= (4 << 20) + 20 * (64 << 10), "{} bytes are held", held());
    let mut reader = consume(&server, "a", "");
    assert_eq!(reader.records(0, 64 * 50 * 16).len(), 64 * 50 * 16);
    reader.ends();
    drop(stalled);
    wait::until_true("what they held to be free", 20 * SECOND, || held() == 0);
}

#[test]
fn a_connection_that_does_nothing_costs_little() {
    let server = TestServer::start();
    server.create("a");
    // Of the first the server keeps more than of each.
    let few = [produce(&server, "a", "producer=1"), consume(&server, "a", "follow=true")];
    let before = server.memory_bytes();
    let many: Vec<_> = (0..500)
        .flat_map(|i| {
            let query = format!("producer={}", i + 2);
            [produce(&server, "a", &query), consume(&server, "a", "follow=true")]
        })
        .collect();
    let each = server.memory_bytes().saturating_sub(before) / many.len() as u64;
    println!("{each} bytes each");
    assert!(each <= 16 << 10, "{each} bytes each");
    drop((few, many));
}

#[test]
fn a_server_that_stops_acks_what_came_and_says_so() {
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
fn a_fault_is_read_though_the_producer_sends_on() {
    // A socket closed with unread bytes in it is reset, and the fault was lost.
    let server = TestServer::start();
    server.create("a");
    for _ in 0..20 {
        let mut producer = produce(&server, "a", "");
        let good = framed(&[block(&vec![vec![b'x'; 1016]; 900])]);
        let mut sending = producer.connection.socket().try_clone().expect("a second handle");
        producer.send(&[9; 8]);
        let thread = std::thread::spawn(move || {
            for _ in 0..20 {
                sending.write_all(&good).expect("it is read, or thrown away");
            }
        });
        let _ = producer.fails_with(Code::MalformedRecords);
        thread.join().expect("it was sent");
    }
}

#[test]
fn what_was_acked_is_there_after_a_kill() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=500");
    let mut acked = 0;
    for round in 0..10 {
        let mut producer = produce(&server, "a", "producer=77");
        let epoch = u32::try_from(producer.head.number("X-Styx-Epoch")).expect("small");
        let next = producer.head.header("X-Styx-Next-Sequence");
        let next: u64 = next.map_or(0, |next| next.parse().expect("a number"));
        assert!(next >= acked, "{next} of {acked} in round {round}");
        acked = next;
        let mut sending = producer.connection.socket().try_clone().expect("a second handle");
        let sender = std::thread::spawn(move || {
            for sequence in (next..).step_by(3) {
                let payloads = [0, 1, 2].map(|i| format!("record {}", sequence + i));
                let block = styx_tests::styx1::block_of(77, epoch, sequence, &payloads);
                if sending.write_all(&framed(&[block])).is_err() {
                    return;
                }
            }
        });
        while acked < next + 300 * (1 + round % 3) {
            match producer.next_but_heartbeats() {
                Some(Event::Ack(ack)) => acked = next + ack.count,
                other => panic!("{other:?}"),
            }
        }
        server.kill();
        sender.join().expect("it ends with the server");
        server.restart();
        let records = server.read_all("a");
        assert!(records.len() as u64 >= acked);
        for (sequence, record) in records.iter().enumerate() {
            assert_eq!(*record, format!("record {sequence}").into_bytes());
        }
    }
}
