//! WebSockets under faults: kills, stops, failing disks, and logs that are deleted,
//! truncated or expire. Acked messages are there, a follower reads every record once,
//! and every connection gets a close frame.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use styx_tests::faults::{Faults, assert_appends_work};
use styx_tests::strace::injected_log;
use styx_tests::websocket::{self, BINARY, CLOSE, TEXT, frame, handshake};
use styx_tests::{Request, Settings, TestServer, WebSocket, wait};

fn message(number: u64) -> Vec<u8> {
    format!("{number} {}", "x".repeat(usize::try_from(number % 300).expect("small"))).into_bytes()
}

/// Sends numbered messages until the connection breaks. Returns how many were sent, and
/// stores how many were acked.
fn produce(server: &TestServer, mut next: u64, acked: &AtomicU64) -> u64 {
    let mut socket = server.websocket_write("a", "&acks=true");
    let mut acks = Acks::of(&socket);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(position) = acks.next() {
                acked.store(position, Ordering::SeqCst);
            }
        });
        loop {
            let batch: Vec<u8> =
                (next..next + 7).flat_map(|n| frame(BINARY, &message(n))).collect();
            next += 7;
            if socket.send_bytes(&batch).is_err() {
                return next;
            }
            // Limits the unacked messages, because this test is about acks.
            while next > acked.load(Ordering::SeqCst) + 2000 {
                if socket.socket().peek(&mut [0]).is_ok_and(|count| count == 0) {
                    return next;
                }
                std::thread::yield_now();
            }
        }
    })
}

/// Reads acks while another thread writes.
struct Acks(TcpStream);

impl Acks {
    fn of(socket: &WebSocket) -> Acks {
        Acks(socket.socket().try_clone().expect("a socket"))
    }

    /// The position of the next.
    fn next(&mut self) -> io::Result<u64> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut payload)?;
        if head[0] != TEXT {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let json: serde_json::Value = serde_json::from_slice(&payload)?;
        json["position"].as_u64().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Follows from a position until the connection breaks. Returns the records.
fn follow(server: &TestServer, from: u64) -> Vec<Vec<u8>> {
    let mut socket = server.websocket_read("a", &format!("follow=true&position={from}"));
    let mut seen = Vec::new();
    while let Ok(frame) = socket.receive() {
        if frame.first == CLOSE {
            break;
        }
        seen.push(frame.payload);
    }
    seen
}

#[test]
fn acked_messages_survive_kill_9() {
    let Faults { cycles, seed, mut random } = Faults::new(20);
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=500");
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut total = 0;
    for cycle in 0..cycles {
        let end = server.info("a")["end_position"].as_u64().expect("a number");
        let (acked, process) = (AtomicU64::new(end), server.process());
        let wait = Duration::from_millis(random.between(20, 300));
        let (more, sent) = std::thread::scope(|scope| {
            let (server, acked, from) = (&server, &acked, seen.len() as u64);
            let follower = scope.spawn(move || follow(server, from));
            let producer = scope.spawn(move || produce(server, end, acked));
            // The fault comes at a random moment.
            std::thread::sleep(wait);
            kill(process);
            (
                follower.join().expect("the thread does not panic"),
                producer.join().expect("no panic"),
            )
        });
        seen.extend(more);
        server.restart();
        let records = server.read_all("a");
        let (acked, there) = (acked.into_inner(), records.len() as u64);
        assert!(
            acked <= there && there <= sent,
            "cycle {cycle}, seed {seed}: {acked} {there} {sent}"
        );
        assert!(
            records.iter().eq((0..there).map(message).collect::<Vec<_>>().iter()),
            "seed {seed}"
        );
        assert!(
            seen[..] == records[..seen.len()],
            "cycle {cycle}, seed {seed}: a followed record is not stored"
        );
        total += acked - end;
        assert_appends_work(&server);
    }
    println!("{total} messages were acked, and every one was there");
    assert!(total > cycles * 20, "only {total} acks in {cycles} cycles, too few to test anything");
}

/// Sends SIGKILL. [`TestServer::restart`] reaps the process.
fn kill(process: u32) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    let process = process.expect("a child has an id");
    rustix::process::kill_process(process, rustix::process::Signal::KILL)
        .expect("the process is running");
}

#[test]
fn a_stopping_server_closes_with_shutting_down_after_the_last_ack() {
    let mut server = TestServer::start();
    server.create("a");
    let mut follower = server.websocket_read("a", "follow=true");
    let mut writer = server.websocket_write("a", "&acks=true");
    let messages: Vec<u8> = (0..1000).flat_map(|n| frame(BINARY, &message(n))).collect();
    writer.send_bytes(&messages).expect("it can be sent");
    let first = writer.ack();
    server.ask_to_stop();
    let (mut durable, mut reason) = (first.count, String::new());
    while let Ok(frame) = writer.receive() {
        if frame.first == CLOSE {
            let (code, why) = websocket::closed(&frame);
            assert_eq!(code, Some(4020), "{why}");
            reason = why;
            break;
        }
        let json: serde_json::Value = serde_json::from_slice(&frame.payload).expect("an ack");
        durable += json["count"].as_u64().expect("a number");
    }
    assert!(reason.starts_with("shutting_down"), "{reason:?}");
    let mut followed = 0;
    loop {
        let frame = follower.receive().expect("a frame");
        if frame.first == CLOSE {
            assert_eq!(websocket::closed(&frame).0, Some(4020));
            break;
        }
        followed += 1;
    }
    drop((writer, follower));
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(3), "{:?}", stopped.took);
    server.restart();
    let records = server.read_all("a").len() as u64;
    assert!(durable <= records && followed <= records, "{durable} acked, {records} stored");
}

#[test]
fn a_writer_that_never_pauses_gets_acks_and_the_close() {
    // The server used to send nothing as long as there was something to read.
    let mut server = TestServer::start();
    server.create("a");
    let mut socket = server.websocket_write("a", "&acks=true");
    let sender = socket.sender();
    let flood: Vec<u8> = (0..5000).flat_map(|_| frame(BINARY, b"")).collect();
    let is_over = AtomicBool::new(false);
    let durable = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_taken = true;
            while is_taken && !is_over.load(Ordering::Relaxed) {
                is_taken = sender.send_bytes(&flood).is_ok();
            }
            sender.finish();
        });
        let _over = wait::SetOnDrop(&is_over);
        let mut durable = 0;
        for _ in 0..10 {
            durable += socket.ack().count;
        }
        server.ask_to_stop();
        loop {
            let frame = socket.receive().expect("an ack or a close");
            if frame.first == CLOSE {
                assert_eq!(websocket::closed(&frame).0, Some(4020));
                return durable;
            }
            let json: serde_json::Value = serde_json::from_slice(&frame.payload).expect("an ack");
            durable += json["count"].as_u64().expect("a number");
        }
    });
    drop(socket);
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success() && !stopped.log.contains("under way"), "{stopped:?}");
    server.restart();
    assert_eq!(server.info("a")["end_position"], durable, "every appended record was acked");
}

#[test]
fn deleting_or_truncating_a_log_closes_its_readers_and_writers() {
    let server = TestServer::start();
    for (end, code, name) in [("truncate", 4016, "log_changed"), ("delete", 4006, "log_not_found")]
    {
        server.create("a");
        server.append("a", "x");
        let mut sockets = [
            server.websocket_read("a", "follow=true&whence=end"),
            server.websocket_write("a", "&acks=true"),
            // This one is busy, the others are idle.
            server.websocket_write("a", "&acks=true"),
        ];
        sockets[2].send(TEXT, b"y");
        sockets[2].acks(1);
        assert_eq!(sockets[0].record(), b"y");
        let request = match end {
            "truncate" => Request::post("/logs/a/truncate"),
            _ => Request::delete("/logs/a"),
        };
        let _ = server.ask(&request).expect(200);
        // Meant for the deleted log. It must not go into a new one.
        let _ = sockets[2].send_bytes(&frame(TEXT, b"too late"));
        for socket in &mut sockets {
            let reason = socket.expect_close(code);
            assert!(reason.starts_with(name), "{end}: {reason}");
        }
        if end == "truncate" {
            assert_eq!(server.info("a")["end_position"], 0);
            let _ = server.ask(&Request::delete("/logs/a")).expect(200);
        }
    }
}

#[test]
fn records_removed_by_retention_are_reported_and_never_skipped() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10&log_max_count=10");
    let mut slow = server.websocket_read("a", "follow=true");
    let records = vec![vec![b'x'; 60_000]; 10];
    for _ in 0..100 {
        server.append_all("a", &records);
    }
    wait::until_true("retention", Duration::from_secs(10), || {
        server.info("a")["start_position"] == 990
    });
    let mut got = 0;
    loop {
        let frame = slow.receive().expect("a frame");
        if frame.first == CLOSE {
            let (code, reason) = websocket::closed(&frame);
            assert_eq!(code, Some(4009), "{reason}");
            assert!(reason.starts_with("out_of_range"), "{reason}");
            break;
        }
        got += 1;
    }
    println!("{got} of 1000 records arrived before the others expired");
    assert!(got < 1000);
    // A read can continue at the first kept record.
    let mut again = server.websocket_read("a", "position=990");
    assert_eq!(again.record().len(), 60_000);
}

#[test]
fn a_failed_sync_is_reported_and_never_acked() {
    let server = injected_log("fdatasync:error=EIO:when=30", Settings::default());
    let mut socket = server.websocket_write("a", "&acks=true");
    let mut acked = 0;
    loop {
        assert!(acked < 1000, "the injected fault did not occur");
        socket.send(BINARY, &message(acked));
        let frame = socket.receive().expect("an ack or a close");
        if frame.first == CLOSE {
            let (code, reason) = websocket::closed(&frame);
            assert_eq!(code, Some(4018), "{reason}");
            assert!(reason.starts_with("outcome_unknown"), "{reason}");
            break;
        }
        acked += 1;
    }
    assert_eq!(server.info("a")["end_position"], acked);
    let answer = server.upgrade(&handshake("/logs/a/records?mode=write"));
    let answer =
        answer.expect_err("the log refuses appends").expect_error(503, "log_not_available");
    assert_eq!(answer.json()["status"], "tainted");
    let mut reader = server.websocket_read("a", "");
    for number in 0..acked {
        assert_eq!(reader.record(), message(number));
    }
    reader.expect_close(1000);
}

#[test]
fn a_writer_is_not_disconnected_because_the_disk_is_slow() {
    // While the budget is full, the server does not read from the writer, for longer
    // than `tcp_timeout`.
    let server =
        injected_log("fdatasync:delay_enter=2000000", Settings::default().set("tcp_timeout = 1"));
    let mut socket = server.websocket_write("a", "&acks=true");
    let (mut before, mut took) = (0, Duration::ZERO);
    while took < Duration::from_secs(1) {
        let start = Instant::now();
        socket.send(BINARY, b"");
        socket.acks(1);
        (before, took) = (before + 1, start.elapsed());
        assert!(before < 1000, "the disk never became slow");
    }
    let message = frame(BINARY, &vec![b'x'; 200_000]);
    let sender = socket.sender();
    const MESSAGES: u64 = 50;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..MESSAGES {
                sender.send_bytes(&message).expect("it is read some day");
            }
        });
        let start = Instant::now();
        assert_eq!(socket.acks(MESSAGES), before + MESSAGES);
        println!("{MESSAGES} messages took {:?}", start.elapsed());
        assert!(start.elapsed() > Duration::from_secs(3), "the disk was not slow");
    });
    assert!(socket.close().is_empty());
}

#[test]
fn complete_messages_are_appended_when_the_server_stops_on_a_slow_disk() {
    // Messages that arrived while the budget was full used to be lost.
    let mut server = injected_log(
        "fdatasync:delay_enter=3000000",
        Settings::default().set("shutdown_timeout = 25"),
    );
    let mut socket = server.websocket_write("a", "&acks=true");
    let (mut before, mut took) = (0, Duration::ZERO);
    while took < Duration::from_secs(1) {
        let start = Instant::now();
        socket.send(BINARY, b"");
        socket.acks(1);
        (before, took) = (before + 1, start.elapsed());
        assert!(before < 1000, "the disk never became slow");
    }
    // Send until the server reads no more.
    let message = frame(BINARY, &[b'x'; 1000]);
    let sent = AtomicU64::new(0);
    let arrived = std::thread::scope(|scope| {
        let (sender, sent, message) = (socket.sender(), &sent, &message);
        scope.spawn(move || {
            for _ in 0..20_000 {
                if sender.send_bytes(message).is_err() {
                    return;
                }
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        let message_bytes = message.len() as u64;
        let arrived =
            || sent.load(Ordering::SeqCst).saturating_sub(unread(&socket).div_ceil(message_bytes));
        let mut last = (0, Instant::now());
        wait::until_true("it to take no more", Duration::from_secs(10), || {
            let now = arrived();
            if now != last.0 {
                last = (now, Instant::now());
            }
            now > 0 && last.1.elapsed() > Duration::from_millis(500)
        });
        server.ask_to_stop();
        let arrived = last.0;
        let _ = socket.socket().shutdown(Shutdown::Write);
        arrived
    });
    drop(socket);
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
    server.restart_with(Settings::default());
    let end = server.info("a")["end_position"].as_u64().expect("a number");
    println!("{arrived} messages had come, {} are there", end - before);
    assert!(end >= before + arrived, "{arrived} messages had arrived, {} are stored", end - before);
}

/// Bytes that were sent on this connection and not read by the server.
fn unread(socket: &WebSocket) -> u64 {
    let own = socket.socket().local_addr().expect("an address").port();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a list of connections");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let queues = table.lines().skip(1).map(|row| {
        let columns: Vec<_> = row.split_whitespace().collect();
        let is_own =
            |address: &str| number(address.rsplit(':').next().unwrap_or("")) == u64::from(own);
        let (unsent, unread) = columns[4].split_once(':').expect("two numbers");
        match (is_own(columns[1]), is_own(columns[2])) {
            (true, _) => number(unsent),
            (_, true) => number(unread),
            _ => 0,
        }
    });
    queues.sum()
}

#[test]
fn two_hundred_followers_get_every_record_in_order() {
    const FOLLOWERS: usize = 200;
    const RECORDS: u64 = 500;
    let server = TestServer::start();
    server.create("a");
    let idle = server.memory_bytes();
    let mut sockets: Vec<WebSocket> =
        (0..FOLLOWERS).map(|_| server.websocket_read("a", "follow=true&whence=end")).collect();
    wait::until_true("all of them", Duration::from_secs(20), || {
        server.open_streams("websocket") == FOLLOWERS as u64
    });
    let each = server.memory_bytes().saturating_sub(idle) / FOLLOWERS as u64;
    println!("{FOLLOWERS} idle followers: {each} bytes each");
    let mut writer = server.websocket_write("a", "&acks=true");
    for number in 0..RECORDS {
        writer.send(BINARY, &message(number));
    }
    assert_eq!(writer.acks(RECORDS), RECORDS);
    for socket in &mut sockets {
        for number in 0..RECORDS {
            assert_eq!(socket.record(), message(number));
        }
    }
    // The memory of the burst is freed.
    let after = server.memory_bytes().saturating_sub(idle) / FOLLOWERS as u64;
    println!("after a burst: {after} bytes each");
    for socket in sockets {
        assert!(socket.close().is_empty());
    }
}
