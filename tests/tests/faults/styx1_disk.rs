//! styx/1 on a disk that fails or is slow, simulated with `strace`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::{Event, Outcome, Route};
use styx_tests::Settings;
use styx_tests::strace::injected_log;
use styx_tests::styx1::{
    Styx1Stream, block, block_of, consume, framed, produce, produce_request, run, try_open,
};

const SECOND: Duration = Duration::from_secs(1);

/// Appends one record, with a producer id unless `id` is 0, and checks that its sync is
/// slow. Sends heartbeats meanwhile.
fn append_slowly(producer: &mut Styx1Stream, id: u64) {
    let start = Instant::now();
    producer.send_blocks(&[block_of(id, u32::from(id != 0), 0, &["x"])]);
    loop {
        producer.beat();
        match producer.next() {
            Some(Event::Ack(ack)) => break assert_eq!(ack.count, 1),
            Some(Event::Heartbeat(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(start.elapsed() > SECOND, "the disk was not slow");
}

#[test]
fn a_failed_sync_is_reported_as_outcome_unknown_and_never_acked() {
    let server = injected_log("fdatasync:error=EIO:when=30", Settings::default());
    let mut producer = produce(&server, "a", "producer=5");
    let mut idle = produce(&server, "a", "");
    let mut acked = 0;
    let fault = loop {
        producer.send_blocks(&[block_of(5, 1, acked, &[format!("{acked}")])]);
        match producer.next_but_heartbeats() {
            Some(Event::Ack(ack)) => {
                assert_eq!((ack.count, &ack.runs[..]), (acked + 1, &[run(acked, 1)][..]));
                acked += 1;
            }
            Some(Event::Error(fault)) => break fault,
            other => panic!("{other:?}"),
        }
        assert!(acked < 1000, "the injected fault did not occur");
    };
    assert_eq!((fault.code, fault.outcome), (Code::OutcomeUnknown, Outcome::Unknown), "{fault:?}");
    producer.is_closed();
    // A producer that sends only now learns that nothing was appended.
    idle.send_blocks(&[block(&["too late"])]);
    let fault = idle.fails_with(Code::LogNotAvailable);
    assert_eq!(fault.outcome, Outcome::NotAppended);
    let refused = try_open(&server, &produce_request("a", ""), Route::ServerToProducer);
    let refused =
        refused.expect_err("the log refuses appends").expect_error(503, "log_not_available");
    assert_eq!(refused.json()["status"], "tainted");
    let mut consumer = consume(&server, "a", "");
    let count = usize::try_from(acked).expect("small");
    let numbers: Vec<_> = (0..acked).map(|number| number.to_string()).collect();
    assert_eq!(consumer.records(0, count), numbers);
    consumer.ends();
}

#[test]
fn a_slow_disk_causes_back_pressure_while_heartbeats_continue() {
    // While the budget is full, the server does not read from the producer, for longer
    // than `tcp_timeout`. It still sends heartbeats.
    let fault = "fdatasync:delay_enter=2500000";
    let server = injected_log(fault, Settings::default().set("tcp_timeout = 2"));
    let request = produce_request("a", "").header("X-Styx-Timeout", 2);
    // Before the stream begins, because it takes a debug build a part of `tcp_timeout`.
    let many = framed(&[block(&vec![vec![b'x'; 1016]; 900])]);
    let mut producer = styx_tests::styx1::open(&server, &request, Route::ServerToProducer);
    producer.connection.set_patience(2 * SECOND);
    append_slowly(&mut producer, 0);
    let mut sending = producer.connection.socket().try_clone().expect("a second handle");
    let start = Instant::now();
    let sender = std::thread::spawn(move || {
        (0..40).for_each(|_| sending.write_all(&many).expect("it is read some day"));
        sending.shutdown(std::net::Shutdown::Write).expect("it can be closed");
    });
    assert_eq!(producer.acked(1 + 40 * 900), [run(1, 40 * 900)]);
    sender.join().expect("the records were sent");
    producer.is_closed();
    assert!(start.elapsed() > 4 * SECOND, "the disk was not slow");
}

#[test]
fn a_newer_connection_waits_for_the_blocks_of_the_older_one() {
    let fault = "fdatasync:delay_enter=1500000";
    let server = injected_log(fault, Settings::default());
    let mut older = produce(&server, "a", "producer=5");
    append_slowly(&mut older, 5);
    older.send_blocks(&[block_of(5, 1, 1, &["on its way"])]);
    older.is_quiet_for(SECOND / 2);
    let newer = produce(&server, "a", "producer=5");
    assert_eq!(newer.head.number("X-Styx-Next-Sequence"), 2);
    assert_eq!(newer.head.number("X-Styx-Epoch"), 2);
    let _ = older.acked(2);
    let _ = older.fails_with(Code::ProducerFenced);
}

#[test]
fn a_stopping_server_waits_for_records_being_synced() {
    let fault = "fdatasync:delay_enter=1500000";
    let mut server = injected_log(fault, Settings::default().set("shutdown_timeout = 25"));
    let mut producer = produce(&server, "a", "");
    append_slowly(&mut producer, 0);
    producer.send_blocks(&[block(&["x"; 1000])]);
    // The block has arrived, and is being synced.
    producer.is_quiet_for(SECOND / 2);
    server.ask_to_stop();
    let _ = producer.acked(1 + 1000);
    let _ = producer.fails_with(Code::ShuttingDown);
    drop(producer);
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
}
