//! styx/0 on a disk that fails or is slow, simulated with `strace`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use styx_tests::Settings;
use styx_tests::strace::injected_log;
use styx_tests::styx0::{HEARTBEAT, Message, Styx0Stream, handshake, record, records};

/// Appends one record, and checks that its sync is slow. Sends heartbeats meanwhile.
fn append_slowly(stream: &mut Styx0Stream) {
    stream.connection().set_patience(Duration::from_millis(500));
    let start = Instant::now();
    stream.send(&record("x"));
    let ack = loop {
        match stream.any() {
            Ok(Some(Message::Heartbeat)) => {}
            Ok(message) => break message,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => stream.send(HEARTBEAT),
            Err(e) => panic!("{e} instead of an ack"),
        }
    };
    assert!(matches!(ack, Some(Message::Ack { count: 1, .. })), "{ack:?}");
    assert!(start.elapsed() > Duration::from_secs(1), "the disk was not slow");
    stream.connection().set_patience(Duration::from_secs(30));
}

#[test]
fn a_failed_sync_is_error_0_and_never_acked() {
    let server = injected_log("fdatasync:error=EIO:when=30", Settings::default());
    let mut stream = Styx0Stream::produce(&server, "a");
    let mut idle = Styx0Stream::produce(&server, "a");
    let mut acked = 0;
    loop {
        stream.send(&record(format!("{acked}")));
        match stream.message() {
            Some(Message::Ack { position, count }) => {
                acked += 1;
                assert_eq!((position, count), (acked, acked));
            }
            other => {
                assert_eq!(other, Some(Message::Error(0)));
                break;
            }
        }
        assert!(acked < 1000, "the injected fault did not occur");
    }
    assert_eq!(stream.rest(), []);
    assert_eq!(server.info("a")["end_position"], acked);
    // Another producer gets no ack either.
    idle.send(&record("too late"));
    assert_eq!(idle.rest(), [Message::Error(0)]);
    let refused = Styx0Stream::open(&server, &handshake("POST", "a", ""))
        .expect_err("the log refuses appends");
    let refused = refused.expect_error(503, "log_not_available");
    assert_eq!(refused.json()["status"], "tainted");
    let mut consumer = Styx0Stream::consume(&server, "a", "");
    for number in 0..acked {
        assert_eq!(consumer.take(1), [number.to_string().as_bytes()]);
    }
    assert_eq!(consumer.rest(), []);
}

#[test]
fn a_producer_is_not_disconnected_because_the_disk_is_slow() {
    // While the budget is full, the server does not read from the producer, for longer
    // than `tcp_timeout`.
    let fault = "fdatasync:delay_enter=2500000";
    let server = injected_log(fault, Settings::default().set("tcp_timeout = 2"));
    const RECORDS: usize = 40;
    // Before the stream begins, because it takes a debug build a part of `tcp_timeout`.
    let bytes = records(&vec![vec![b'x'; 200_000]; RECORDS]);
    let mut stream = Styx0Stream::produce(&server, "a");
    append_slowly(&mut stream);
    let mut sender = stream.connection().socket().try_clone().expect("a socket");
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(&bytes).expect("it is read some day");
            sender.shutdown(std::net::Shutdown::Write).expect("it can be closed");
        });
        assert_eq!(stream.acked(1 + RECORDS as u64), 1 + RECORDS as u64);
    });
    assert!(start.elapsed() > Duration::from_secs(4), "the disk was not slow");
    assert_eq!(stream.rest(), []);
}

#[test]
fn a_stopping_server_waits_for_records_being_synced() {
    let fault = "fdatasync:delay_enter=1500000";
    let mut server = injected_log(fault, Settings::default().set("shutdown_timeout = 25"));
    let mut stream = Styx0Stream::produce(&server, "a");
    append_slowly(&mut stream);
    stream.send(&records(&["x"; 1000]));
    // The records have arrived, and are being synced.
    std::thread::sleep(Duration::from_millis(500));
    server.ask_to_stop();
    let mut last = Some(1);
    let messages = stream.rest();
    for message in &messages {
        if let Message::Ack { count, .. } = message {
            last = Some(*count);
        }
    }
    assert_eq!(last, Some(1 + 1000));
    assert_eq!(messages.last(), Some(&Message::Error(0)));
    drop(stream);
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
}
