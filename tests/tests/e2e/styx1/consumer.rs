//! A consumer's stream of styx/1: which blocks it gets, and how it ends.

use std::os::unix::fs::FileExt as _;

use styx_protocol::block::{self, Block, Codec, Header, Origin};
use styx_protocol::frame::{Damage, Ends, Event, Route};
use styx_protocol::{Code, Position};
use styx_tests::styx1::{
    Styx1Stream, block, consume, consume_request, open, produce, produce_request, records,
};
use styx_tests::{Request, Settings, TestServer};

/// A server whose log `a` has three blocks: 0 to 2, 3 to 5, 6 to 8.
fn three_blocks() -> TestServer {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let blocks = [["0", "1", "2"], ["3", "4", "5"], ["6", "7", "8"]];
    producer.send_blocks(&blocks.map(|payloads| block(&payloads)));
    let _ = producer.acked(9);
    server
}

/// The base position of every block up to the end.
fn bases(consumer: &mut Styx1Stream) -> Vec<u64> {
    let mut bases = Vec::new();
    loop {
        match consumer.next_but_heartbeats() {
            Some(Event::Block(bytes)) => {
                let (header, _) = Header::decode(&bytes).expect("a block");
                if !header.is_marker() {
                    bases.push(header.base_position);
                }
            }
            Some(Event::End { .. }) => {
                consumer.is_closed();
                return bases;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whole_blocks_are_sent_when_the_range_starts_or_ends_inside_one() {
    let server = three_blocks();
    for (query, expected) in [
        ("", &[0, 3, 6][..]),
        ("position=4", &[3, 6]),
        ("position=5", &[3, 6]),
        ("position=6", &[6]),
        ("position=9", &[]),
        ("count=0", &[]),
        ("count=0&follow=true", &[]),
        ("count=-1", &[0, 3, 6]),
        ("position=4&count=1", &[3]),
        ("position=4&count=3&follow=true", &[3, 6]),
        ("whence=end&position=-2&count=2&follow=true", &[6]),
    ] {
        let mut consumer = consume(&server, "a", query);
        assert_eq!(bases(&mut consumer), expected, "{query}");
        let position = consumer.head.number("X-Styx-Position");
        assert!(expected.is_empty() || expected[0] <= position, "{query}");
    }
}

#[test]
fn a_follower_gets_new_blocks_and_learns_when_it_has_caught_up() {
    let server = TestServer::start();
    server.create("a");
    let mut consumer = consume(&server, "a", "follow=true");
    consumer.caught_up(0, 0);
    for end in 1..=3 {
        server.append("a", format!("record {end}"));
        assert_eq!(consumer.records(end - 1, 1), [format!("record {end}").as_bytes()]);
        consumer.caught_up(0, end);
    }
}

#[test]
fn a_followed_range_ends_after_its_count() {
    let server = three_blocks();
    let mut consumer = consume(&server, "a", "position=8&count=3&follow=true");
    assert_eq!(consumer.records(8, 1), ["8"]);
    consumer.caught_up(0, 9);
    server.append("a", "9");
    assert_eq!(consumer.records(9, 1), ["9"]);
    server.append("a", "10");
    assert_eq!(consumer.records(10, 1), ["10"]);
    consumer.ends();
}

#[test]
fn blocks_carry_their_position_and_timestamp() {
    let server = three_blocks();
    server.append("a", "9");
    let mut consumer = consume(&server, "a", "");
    let headers: Vec<_> = (0..4).map(|_| *consumer.block().header()).collect();
    assert_eq!(headers.iter().map(|h| h.base_position).collect::<Vec<_>>(), [0, 3, 6, 9]);
    let times: Vec<_> = headers.iter().map(|h| h.timestamp_us).collect();
    assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
    assert!(times[3] > times[0]);
}

/// A log with one plain, one lz4 and one zstd block of the same 1,000 records.
fn packed(server: &TestServer, name: &str) -> Vec<String> {
    server.create(name);
    let payloads: Vec<_> = (0..1000).map(|i| format!("record number {i}")).collect();
    let request = produce_request(name, "").header("X-Styx-Features", "lz4, zstd");
    let mut producer = open(server, &request, Route::ServerToProducer);
    for codec in Codec::ALL {
        let block = block::build_with(codec, None, &records(&payloads), Origin::default());
        assert_eq!(Header::decode(&block).expect("a header").0.codec, codec);
        producer.send_blocks(&[block]);
    }
    let _ = producer.acked(3000);
    payloads
}

#[test]
fn compressed_blocks_are_sent_only_in_the_requested_codecs() {
    let mut server = TestServer::start();
    let payloads = packed(&server, "a");
    use Codec::{Lz4, None as Plain, Zstd};
    for where_from in ["memory", "file"] {
        for (features, expected) in [
            ("", [Plain, Plain, Plain]),
            ("lz4", [Plain, Lz4, Plain]),
            ("zstd", [Plain, Plain, Zstd]),
            ("lz4, zstd", [Plain, Lz4, Zstd]),
        ] {
            let request = consume_request("a", "position=500").header("X-Styx-Features", features);
            let mut consumer = open(&server, &request, Route::ServerToConsumer);
            for (number, codec) in (0..).zip(expected) {
                let block = consumer.block();
                let header = block.header();
                let found = (header.codec, header.base_position, header.count);
                assert_eq!(found, (codec, number * 1000, 1000), "{features} from {where_from}");
                assert!(header.timestamp_us > 0);
                let read = block.checked_records().expect("records");
                assert!(read.payloads().eq(payloads.iter().map(String::as_bytes)));
            }
            consumer.ends();
        }
        server.kill();
        server.restart();
    }
}

#[test]
fn highly_compressed_blocks_are_decompressed_in_bounded_memory() {
    // Seven of the consumers read nothing and send nothing.
    let server = Settings::default().set("tcp_timeout = 300").start();
    server.create("a");
    let request = produce_request("a", "").header("X-Styx-Features", "zstd");
    let mut producer = open(&server, &request, Route::ServerToProducer);
    let zeros = records(&vec![vec![0; 1016]; 1024]);
    let block = block::build_with(Codec::Zstd, None, &zeros, Origin::default());
    assert!(block.len() < 10_000);
    for _ in 0..100 {
        producer.send_blocks(&vec![block.clone(); 2]);
    }
    let _ = producer.acked(200 * 1024);
    let before = server.memory_bytes_most();
    let mut stalled: Vec<_> = (0..8).map(|_| consume(&server, "a", "")).collect();
    assert_eq!(stalled[0].block().header().raw_size, 1 << 20);
    assert_eq!(stalled[1].records(0, 200 * 1024).len(), 200 * 1024);
    let more = server.memory_bytes_most().saturating_sub(before) >> 20;
    assert!(more < 60, "eight consumers of 200 MiB hold {more} MiB");
}

#[test]
fn blocks_from_a_file_are_sent_intact_while_retention_removes_it() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_size=10000000");
    let mut producer = produce(&server, "a", "");
    let block = |i: u64| {
        let payload = |j: u64| [&(i * 500 + j).to_be_bytes()[..], &[7; 1992]].concat();
        styx_tests::styx1::block(&(0..500).map(payload).collect::<Vec<_>>())
    };
    (0..60).for_each(|i| producer.send_blocks(&[block(i)]));
    let _ = producer.acked(30_000);
    // After a restart nothing of the log is in memory.
    server.kill();
    server.restart();
    let request = consume_request("a", "position=1").header("X-Styx-Features", "lz4, zstd");
    let mut consumer = open(&server, &request, Route::ServerToConsumer);
    let first = consumer.records(1, 499);
    let trim = server.ask(&Request::post("/logs/a/trim?position=30000"));
    let start = trim.expect(200).json()["start_position"].as_u64().expect("a number");
    assert!(start > 20_000, "{start}");
    let mut next = 500;
    let fault = loop {
        match consumer.next_but_heartbeats() {
            Some(Event::Block(bytes)) => {
                let (block, _) = Block::parse(bytes, 0).expect("a whole block");
                if block.header().is_marker() {
                    continue;
                }
                assert_eq!(block.header().base_position, next);
                for payload in block.checked_records().expect("records").payloads() {
                    assert_eq!(payload[..8], next.to_be_bytes());
                    next += 1;
                }
            }
            Some(Event::Error(fault)) => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.code, Code::OutOfRange, "{fault:?}");
    assert_eq!((first.len(), next % 500), (499, 0));
    assert!(next < start, "{next}");
}

#[test]
fn a_follower_that_falls_behind_the_cache_continues_with_the_next_block() {
    // The server used to send blocks twice, from where the index of the file pointed.
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let request = consume_request("a", "follow=true").header("X-Styx-Features", "lz4, zstd");
    let mut consumer = open(&server, &request, Route::ServerToConsumer);
    let small = block(&vec![vec![b'x'; 1016]; 3]);
    for count in 1..=10 {
        producer.send_blocks(std::slice::from_ref(&small));
        let _ = producer.acked(3 * count);
        assert_eq!(consumer.records(3 * (count - 1), 3).len(), 3);
    }
    // Far more than the cache and the socket buffers hold.
    for _ in 0..200 {
        producer.send_blocks(&vec![small.clone(); 80]);
    }
    let end = 3 * (10 + 200 * 80);
    let _ = producer.acked(end);
    let mut next = 30;
    while next < end {
        let header = *consumer.block().header();
        assert_eq!(header.base_position, next, "the block does not follow the one before it");
        next = header.end_position();
    }
}

#[test]
fn retention_that_overtakes_a_consumer_is_reported() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_size=1000000");
    let mut producer = produce(&server, "a", "");
    // Far more than the socket buffers hold.
    let payload = vec![b'x'; 1000];
    let many = block(&vec![payload; 900]);
    for _ in 0..60 {
        producer.send_blocks(std::slice::from_ref(&many));
    }
    let _ = producer.acked(60 * 900);
    let mut consumer = consume(&server, "a", "follow=true");
    let first = consumer.block();
    assert_eq!(first.header().base_position, 0);
    let trimmed = server.ask(&Request::post("/logs/a/trim?position=54000"));
    let start = trimmed.expect(200).json()["start_position"].as_u64().expect("a number");
    let mut next = first.header().end_position();
    let fault = loop {
        match consumer.next_but_heartbeats() {
            Some(Event::Block(bytes)) => {
                let (block, _) = Block::parse(bytes, 0).expect("a block");
                if !block.header().is_marker() {
                    assert_eq!(block.header().base_position, next, "no block is skipped");
                    assert_eq!(block.records().expect("records").count(), 900);
                    next = block.header().end_position();
                }
            }
            Some(Event::Error(fault)) => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.code, Code::OutOfRange, "{fault:?}");
    let ends = Ends { start: Position(start), end: Position(54_000) };
    assert_eq!(fault.ends(), Some(ends));
    assert!(next < start, "{next} of {start}");
    consumer.is_closed();
}

#[test]
fn damage_is_reported_with_its_position_and_the_next_intact_one() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    for number in 0..40 {
        server.append("a", format!("this is record number {number}"));
    }
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let path = server.data().join("a/0/00000000000000000010.seg");
    let bytes = std::fs::read(&path).expect("a segment");
    let record = b"record number 14";
    let at =
        bytes.windows(record.len()).position(|w| w == record).expect("the record is in the file");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a segment");
    file.write_at(&[bytes[at] ^ 1], at as u64).expect("it can be written");
    server.restart();
    for features in ["", "lz4, zstd"] {
        // A client that finds the damage itself asks again there, and gets the error.
        for from in [0, 14] {
            let query = format!("position={from}");
            let request = consume_request("a", &query).header("X-Styx-Features", features);
            let mut consumer = open(&server, &request, Route::ServerToConsumer);
            let fault = loop {
                match consumer.next_but_heartbeats() {
                    Some(Event::Block(_)) => {}
                    Some(Event::Error(fault)) => break Some(fault),
                    Some(Event::End { .. }) if from == 0 && !features.is_empty() => break None,
                    other => panic!("{other:?}"),
                }
            };
            if let Some(fault) = fault {
                let damage = Damage { position: Position(14), next_intact: Some(Position(15)) };
                assert_eq!(fault.damage(), Some(damage), "{fault:?}");
            }
        }
    }
    let mut behind = consume(&server, "a", "position=15");
    assert_eq!(behind.records(15, 25).len(), 25);
    behind.ends();
}

#[test]
fn deleting_or_truncating_a_log_ends_its_streams() {
    let server = Settings::default().start();
    for (name, request, code) in [
        ("a", Request::delete("/logs/a"), Code::LogNotFound),
        ("b", Request::post("/logs/b/truncate"), Code::LogChanged),
    ] {
        server.create(name);
        server.append(name, "one");
        let mut consumer = consume(&server, name, "follow=true");
        assert_eq!(consumer.records(0, 1), ["one"]);
        let mut producer = produce(&server, name, "");
        let _ = server.ask(&request).expect(200);
        let _ = consumer.fails_with(code);
        let _ = producer.fails_with(code);
    }
}

#[test]
fn a_consumer_that_sends_anything_but_heartbeats_is_rejected() {
    let server = three_blocks();
    for bytes in [&[5, 0, 0, 0, 0, 0, 0, 0][..], &[9, 0, 0, 0, 0, 0, 0, 0], b"GET / HTTP/1.1\r\n"] {
        let mut consumer = consume(&server, "a", "whence=end&follow=true");
        consumer.beat();
        consumer.send(bytes);
        let _ = consumer.fails_with(Code::MalformedRecords);
    }
}
