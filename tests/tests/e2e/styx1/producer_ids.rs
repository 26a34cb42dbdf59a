//! Producers with an id: nothing is appended twice, nothing is left out, and only the
//! newest connection can append.

use styx_protocol::Code;
use styx_protocol::frame::{Event, Outcome, Route};
use styx_tests::styx1::{Styx1Stream, block, block_of, produce, produce_request, run, try_open};
use styx_tests::{Request, TestServer};

const ID: u64 = u64::MAX;

fn query(epoch: Option<u32>) -> String {
    match epoch {
        Some(epoch) => format!("producer={ID}&epoch={epoch}"),
        None => format!("producer={ID}"),
    }
}

/// The epoch and the next sequence of a 101.
fn begun(stream: &Styx1Stream) -> (u64, Option<u64>) {
    let next = stream.head.header("X-Styx-Next-Sequence");
    (stream.head.number("X-Styx-Epoch"), next.map(|next| next.parse().expect("a number")))
}

fn refusal(server: &TestServer, query: &str) -> styx_tests::Response {
    let request = produce_request("a", query);
    *try_open(server, &request, Route::ServerToProducer).expect_err("a refusal")
}

#[test]
fn epochs_are_unique_and_sequences_continue_across_epochs_and_restarts() {
    let mut server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", &query(None));
    assert_eq!(begun(&producer), (1, None));
    producer.send_blocks(&[block_of(ID, 1, 40, &["a", "b"])]);
    assert_eq!(producer.acked(2), [run(0, 2)]);
    drop(producer);
    let producer = produce(&server, "a", &query(None));
    assert_eq!(begun(&producer), (2, Some(42)));
    drop(producer);
    server.kill();
    server.restart();
    // The epoch was durable before the 101, although the connection sent nothing.
    let producer = produce(&server, "a", &query(None));
    assert_eq!(begun(&producer), (3, Some(42)));
    // A producer that asks for its epoch keeps it. Other producers have their own.
    let again = produce(&server, "a", &query(Some(3)));
    assert_eq!(begun(&again), (3, Some(42)));
    let higher = produce(&server, "a", &query(Some(9)));
    assert_eq!(begun(&higher), (9, Some(42)));
    assert_eq!(begun(&produce(&server, "a", "producer=1")), (1, None));
    assert_eq!(begun(&produce(&server, "a", "producer=2&epoch=0")), (0, None));
}

#[test]
fn a_repeated_block_is_acked_at_its_original_position() {
    let mut server = TestServer::start();
    server.create("a");
    let blocks = [
        block_of(ID, 1, 0, &["a", "b"]),
        block_of(ID, 1, 2, &["c"]),
        block_of(ID, 1, 3, &["d", "e"]),
    ];
    let mut producer = produce(&server, "a", &query(None));
    producer.send_blocks(&blocks[..1]);
    assert_eq!(producer.acked(2), [run(0, 2)]);
    server.append("a", "of another");
    producer.send_blocks(&blocks[1..2]);
    assert_eq!(producer.acked(3), [run(3, 1)]);
    server.kill();
    server.restart();
    let mut producer = produce(&server, "a", &query(Some(1)));
    assert_eq!(begun(&producer), (1, Some(3)));
    producer.send_blocks(&blocks);
    // The count is of this stream. The runs are the positions of the records.
    assert_eq!(producer.acked(5), [run(0, 2), run(3, 3)]);
    producer.end(false);
    producer.is_closed();
    assert_eq!(server.read_all("a"), [&b"a"[..], b"b", b"of another", b"c", b"d", b"e"]);
}

#[test]
fn sequence_gaps_and_reused_sequences_are_rejected() {
    let server = TestServer::start();
    server.create("a");
    let begin = || {
        let mut producer = produce(&server, "a", &query(Some(1)));
        producer.send_blocks(&[block_of(ID, 1, 7, &["a", "b"])]);
        assert_eq!(producer.acked(2), [run(0, 2)]);
        producer
    };
    for (wrong, code) in [
        (block_of(ID, 1, 10, &["ahead"]), Code::SequenceGap),
        (block_of(ID, 1, 8, &["partly", "behind"]), Code::SequenceGap),
        (block_of(ID, 1, 7, &["a", "c"]), Code::SequenceReused),
        (block_of(ID, 1, 8, &["b"]), Code::SequenceReused),
    ] {
        let mut producer = begin();
        // The next block is correct, but it is rejected too.
        producer.send_blocks(&[wrong, block_of(ID, 1, 9, &["next"])]);
        let fault = producer.fails_with(code);
        let expected = (code == Code::SequenceGap).then_some(9);
        assert_eq!(fault.expected_sequence(), expected, "{fault:?}");
        assert_eq!(fault.outcome, Outcome::NotAppended);
    }
    assert_eq!(server.read_all("a"), [b"a", b"b"]);
}

#[test]
fn a_block_with_another_producer_or_epoch_than_the_handshake_is_rejected() {
    let server = TestServer::start();
    server.create("a");
    for (query, right, wrong) in [
        ("", block(&["right"]), block_of(ID, 1, 0, &["wrong"])),
        ("", block(&["right"]), block_of(0, 1, 0, &["wrong"])),
        ("", block(&["right"]), block_of(0, 0, 1, &["wrong"])),
        ("producer=5", block_of(5, 1, 0, &["right"]), block(&["wrong"])),
        ("producer=6", block_of(6, 1, 0, &["right"]), block_of(5, 1, 1, &["wrong"])),
        ("producer=7", block_of(7, 1, 0, &["right"]), block_of(7, 2, 1, &["wrong"])),
    ] {
        let mut producer = produce(&server, "a", query);
        producer.send_blocks(&[right.clone(), wrong, right]);
        assert_eq!(producer.acked(1).len(), 1);
        let fault = producer.fails_with(Code::InvalidParams);
        assert!(fault.message.contains("handshake"), "{fault:?}");
    }
    assert_eq!(server.read_all("a"), [b"right"; 6]);
}

#[test]
fn a_newer_connection_ends_the_older_one_and_is_told_the_final_sequence() {
    let server = TestServer::start();
    server.create("a");
    let mut older = produce(&server, "a", &query(None));
    let mut next = 0;
    // With a higher epoch, and with the epoch of the older connection.
    for (epoch, asked) in [(1, None), (2, Some(2)), (2, None)] {
        let blocks: Vec<_> = (0..100)
            .map(|i| block_of(ID, epoch, next + i, &[format!("record {}", next + i)]))
            .collect();
        // They are in flight when the newer connection opens.
        older.send_blocks(&blocks);
        let newer = produce(&server, "a", &query(asked));
        let (_, known) = begun(&newer);
        let mut acked = 0;
        let fault = loop {
            match older.next_but_heartbeats().expect("a fault before the end") {
                Event::Ack(ack) => acked = ack.count,
                Event::Error(fault) => break fault,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(fault.code, Code::ProducerFenced, "{fault:?}");
        assert!(fault.message.contains("took over"), "{fault:?}");
        assert_eq!(fault.outcome, Outcome::NotAppended);
        older.is_closed();
        next += acked;
        assert_eq!(known.unwrap_or(0), next, "the newer connection gets the final sequence");
        older = newer;
    }
    assert_eq!(server.info("a")["end_position"], next);
}

#[test]
fn a_lower_epoch_is_rejected_and_disconnects_nobody() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", &query(Some(5)));
    let refusal = refusal(&server, &query(Some(4)));
    let _ = refusal.expect(409);
    producer.send_blocks(&[block_of(ID, 5, 0, &["still here"])]);
    assert_eq!(producer.acked(1), [run(0, 1)]);
}

#[test]
fn a_higher_epoch_over_http_fences_the_stream() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", &query(Some(5)));
    producer.send_blocks(&[block_of(ID, 5, 0, &["zero"])]);
    assert_eq!(producer.acked(1), [run(0, 1)]);
    let request = Request::post("/logs/a/records")
        .header("X-Styx-Producer", ID)
        .header("X-Styx-Epoch", 6)
        .header("X-Styx-Sequence", 1)
        .body("one");
    let _ = server.ask(&request).expect(200);
    producer.send_blocks(&[block_of(ID, 5, 2, &["two"])]);
    let _ = producer.fails_with(Code::ProducerFenced);
    assert_eq!(server.read_all("a"), [&b"zero"[..], b"one"]);
}

#[test]
fn an_end_with_the_forget_flag_forgets_the_producer() {
    let server = TestServer::start();
    server.create("a");
    for forget in [false, true, true] {
        let mut producer = produce(&server, "a", &query(None));
        let (epoch, next) = begun(&producer);
        let epoch = u32::try_from(epoch).expect("small");
        producer.send_blocks(&[block_of(ID, epoch, next.unwrap_or(0), &["x"])]);
        producer.end(forget);
        assert_eq!(producer.acked(1).len(), 1);
        producer.is_closed();
        let expected = if forget { (1, None) } else { (2, Some(1)) };
        let next = produce(&server, "a", &query(None));
        assert_eq!(begun(&next), expected);
        drop(next);
        if forget {
            produce(&server, "a", &query(None)).end(true);
        }
    }
}
