//! The client core's producer against a real server: every record is in the log
//! exactly once, whatever happens to connections and servers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use styx_client::blocking::{Client, Producer};
use styx_client::{Code, Codec, Kind, LogConfig};
use styx_tests::api::{read_binary, unbinary};
use styx_tests::proxy::{LinkFaults, Proxy};
use styx_tests::random::Random;
use styx_tests::{Request, TestServer, wait};

fn client(server: &TestServer) -> Client {
    Client::connect(&format!("styx://{}", server.address())).expect("the server is listening")
}

fn create(client: &Client, log: &str) {
    client.create_log(log, LogConfig::default(), false).expect("a new log");
}

fn records(server: &TestServer, log: &str) -> Vec<Vec<u8>> {
    unbinary(&server.ask(&read_binary(log, "whence=start")).expect(200).body)
}

#[test]
fn a_record_is_at_the_position_of_its_ack() {
    let server = TestServer::start();
    let client = client(&server);
    create(&client, "orders");
    for codec in Codec::ALL {
        let before = records(&server, "orders").len();
        let producer =
            client.producer("orders").compression(codec).open().expect("it can be opened");
        let payload = |i: usize| format!("{codec} {i} {}", "x".repeat(i % 300)).into_bytes();
        let acks: Vec<_> =
            (0..5000).map(|i| producer.append(&payload(i)).expect("accepted")).collect();
        let batch = producer.append_many((5000..6000).map(payload)).expect("accepted");
        producer.flush().expect("durable");
        let stored = records(&server, "orders");
        assert_eq!(stored.len(), before + 6000);
        for (i, ack) in acks.iter().enumerate() {
            let position = ack.try_position().expect("flushed").expect("durable");
            assert_eq!(stored[usize::try_from(position).expect("small")], payload(i));
        }
        let first = usize::try_from(batch.position().expect("durable")).expect("small");
        for i in 0..1000 {
            assert_eq!(
                stored[first + i],
                payload(5000 + i),
                "the records of a batch are contiguous"
            );
        }
        producer.close().expect("no error");
    }
}

#[test]
fn empty_and_large_records_are_appended() {
    let server = TestServer::start();
    let client = client(&server);
    let config = LogConfig { max_record_size: 4 << 20, ..LogConfig::default() };
    client.create_log("orders", config, false).expect("a new log");
    let producer = client.producer("orders").open().expect("it can be opened");
    let large = vec![7u8; (4 << 20) - 8];
    assert_eq!(producer.send(b"").expect("durable"), 0);
    assert_eq!(producer.send(&large).expect("durable"), 1);
    let too_large = producer.append(&vec![7u8; (4 << 20) - 7]).expect("accepted");
    let after = producer.append(b"after").and_then(|ack| ack.position());
    for refused in [too_large.position(), after] {
        let error = refused.expect_err("the large record and every later one are refused");
        assert_eq!(error.kind(), Kind::Code(Code::RecordTooLarge));
        assert!(!error.maybe_appended() && !error.is_retriable());
    }
    assert!(records(&server, "orders") == [&b""[..], &large]);
}

#[test]
fn an_import_resumes_after_its_last_appended_line() {
    let server = TestServer::start();
    let client = client(&server);
    create(&client, "flights");
    let lines: Vec<String> = (0..1000).map(|i| format!("line {i}")).collect();
    let open = || client.producer("flights").producer_id(77).open().expect("it can be opened");
    let import = |producer: &Producer, lines: &[String]| {
        for line in lines {
            producer.append(line.as_bytes()).expect("accepted");
        }
    };
    let first = open();
    assert_eq!((first.next_sequence(), first.epoch()), (0, Some(1)));
    import(&first, &lines[..400]);
    first.flush().expect("durable");
    import(&first, &lines[400..450]);
    // It is dropped without a close. The next one asks for the next sequence.
    drop(first);
    let second = open();
    let next = usize::try_from(second.next_sequence()).expect("small");
    assert!((400..=450).contains(&next), "{next}");
    import(&second, &lines[next..]);
    second.close().expect("no error");
    let stored: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(records(&server, "flights"), stored);
    assert_eq!(open().next_sequence(), 1000, "an id with records is remembered");
}

#[test]
fn a_newer_producer_with_the_same_id_fences_the_older() {
    let server = TestServer::start();
    let client = client(&server);
    create(&client, "orders");
    let older = client.producer("orders").producer_id(5).open().expect("it can be opened");
    older.send(b"older").expect("the record is acked");
    let newer = client.producer("orders").producer_id(5).open().expect("the newer producer opens");
    assert!(newer.epoch() > older.epoch());
    assert_eq!(newer.next_sequence(), 1);
    let error = older.send(b"too late").expect_err("the older producer is fenced");
    assert_eq!(error.kind(), Kind::Code(Code::ProducerFenced));
    assert!(!error.is_retriable());
    newer.send(b"newer").expect("the record is acked");
    assert_eq!(records(&server, "orders"), [b"older", b"newer"]);
    let stale = client.producer("orders").producer_id(5).epoch(0).open();
    assert_eq!(stale.expect_err("an old epoch").kind(), Kind::Code(Code::ProducerFenced));
}

#[test]
fn an_expected_position_is_checked_against_the_end_of_the_log() {
    let server = TestServer::start();
    let client = client(&server);
    create(&client, "orders");
    let first = client.producer("orders").expected_position(0).open().expect("it can be opened");
    assert_eq!(first.send(b"a").ok(), Some(0));
    assert_eq!(first.send(b"b").ok(), Some(1));
    let second = client.producer("orders").expected_position(1).open().expect("it can be opened");
    let error = second.send(b"c").expect_err("the log ends at 2");
    assert_eq!(error.kind(), Kind::Code(Code::PositionMismatch));
    assert_eq!(error.facts().end_position, Some(2));
    assert!(!error.maybe_appended());
    assert_eq!(records(&server, "orders"), [b"a", b"b"]);
}

/// Each change to a log under an open producer, and the errors that it may return. No
/// record may go into another log of the same name.
#[test]
fn a_producer_never_appends_to_a_replaced_log() {
    let truncate = |server: &TestServer| {
        let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    };
    let delete = |server: &TestServer| {
        let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    };
    let recreate = |server: &TestServer| {
        delete(server);
        server.create("a");
    };
    // Ends the connection, and makes the server unreachable for a while.
    let leave = |server: &mut TestServer, proxy: &Proxy| {
        proxy.forward_to(([127, 0, 0, 1], 1).into());
        server.kill();
        server.restart();
    };
    type Change<'a> = &'a dyn Fn(&mut TestServer, &Proxy);
    let changes: [(&str, Change, &[Code]); 5] = [
        ("truncated", &|server, _| truncate(server), &[Code::LogChanged]),
        ("deleted", &|server, _| delete(server), &[Code::LogChanged, Code::LogNotFound]),
        (
            "created anew",
            &|server, _| recreate(server),
            // It learns of the deletion, or asks again after the creation.
            &[Code::LogChanged, Code::LogNotFound],
        ),
        (
            "truncated while away",
            &|server, proxy| {
                leave(server, proxy);
                truncate(server);
            },
            &[Code::LogChanged],
        ),
        (
            "created anew while away",
            &|server, proxy| {
                leave(server, proxy);
                recreate(server);
            },
            &[Code::LogChanged],
        ),
    ];
    for ((what, change, codes), has_acked) in changes.iter().flat_map(|c| [(c, true), (c, false)]) {
        let mut server = TestServer::start();
        server.create("a");
        let proxy = Proxy::start(server.address(), 1);
        let client = Client::connect(&format!("styx://{}", proxy.address()))
            .expect("the server is listening");
        let producer = client.producer("a").open().expect("it can be opened");
        if has_acked {
            producer.send(b"before").expect("the record is acked");
        }
        change(&mut server, &proxy);
        let others: &[&[u8]] = if *what == "deleted" { &[] } else { &[b"of", b"others"] };
        for record in others {
            server.append("a", *record);
        }
        let waiting = producer.append(b"while away");
        proxy.forward_to(server.address());
        let error = waiting.and_then(|ack| ack.position()).expect_err("the log was replaced");
        let Kind::Code(code) = error.kind() else { panic!("{what}: {error:?}") };
        assert!(codes.contains(&code), "{what}, {has_acked}: {error:?}");
        let after = producer.send(b"after").expect_err("the producer stays failed");
        assert_eq!(after.kind(), error.kind(), "{what}, {has_acked}");
        assert!(!error.is_retriable(), "{what}, {has_acked}: {error:?}");
        if *what != "deleted" {
            assert_eq!(records(&server, "a"), others, "{what}, {has_acked}");
        }
    }
}

#[test]
fn a_producer_of_a_missing_log_fails_to_open() {
    let server = TestServer::start();
    let error = client(&server).producer("nothing").open().expect_err("no such log");
    assert_eq!(error.kind(), Kind::Code(Code::LogNotFound));
}

/// Producers append while the server is killed and restarted. At the end, every
/// appended record is checked.
#[test]
fn every_record_is_stored_once_although_the_server_is_killed() {
    const PRODUCERS: usize = 3;
    let kills = kills();
    let mut server = TestServer::start();
    let proxy = Proxy::start(server.address(), 1);
    let client =
        Client::connect(&format!("styx://{}", proxy.address())).expect("the server is listening");
    create(&client, "orders");
    let stop = AtomicBool::new(false);
    let appended: Vec<Vec<(Vec<u8>, u64)>> = std::thread::scope(|scope| {
        let over = wait::SetOnDrop(&stop);
        let workers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let (client, stop) = (&client, &stop);
                scope.spawn(move || produce(client, number, stop))
            })
            .collect();
        let mut random = Random::new(3);
        for _ in 0..kills {
            let end = || server.info("orders")["end_position"].as_u64().expect("a number");
            let before = end();
            let patience = Duration::from_secs(30);
            wait::until_true("appends to continue", patience, || end() > before);
            // The fault comes at a random moment.
            std::thread::sleep(Duration::from_millis(random.between(0, 30)));
            server.kill();
            server.restart();
            proxy.forward_to(server.address());
        }
        drop(over);
        workers
            .into_iter()
            .map(|worker| worker.join().expect("the thread does not panic"))
            .collect()
    });
    check_exactly_once(&records(&server, "orders"), &appended, kills);
}

#[test]
fn every_record_is_stored_once_although_the_network_fails() {
    let server = TestServer::start();
    let proxy = Proxy::start(server.address(), 2);
    let client =
        Client::connect(&format!("styx://{}", proxy.address())).expect("the server is listening");
    create(&client, "orders");
    proxy.inject(Some(LinkFaults::frequent()));
    let stop = AtomicBool::new(false);
    let appended: Vec<_> = std::thread::scope(|scope| {
        let over = wait::SetOnDrop(&stop);
        let workers: Vec<_> = (0..3)
            .map(|number| {
                let (client, stop) = (&client, &stop);
                scope.spawn(move || produce(client, number, stop))
            })
            .collect();
        wait::until_true("cuts", Duration::from_secs(120), || proxy.cuts() >= 100);
        drop(over);
        let appended =
            workers.into_iter().map(|worker| worker.join().expect("the thread does not panic"));
        appended.collect()
    });
    check_exactly_once(&records(&server, "orders"), &appended, 100);
}

/// The number of kills of the server. `STYX_TEST_KILLS` overrides it.
fn kills() -> u64 {
    std::env::var("STYX_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Appends until `stop` is set. Returns each payload and its position.
fn produce(client: &Client, number: usize, stop: &AtomicBool) -> Vec<(Vec<u8>, u64)> {
    let codec = Codec::ALL[number % Codec::ALL.len()];
    let producer = client.producer("orders").compression(codec).in_flight_bytes(64 << 10);
    let producer = producer.open().expect("it can be opened");
    let mut random = Random::new(number as u64);
    let mut acks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let length = usize::try_from(random.between(0, 200)).expect("small");
        let payload = format!("{number} {} {}", acks.len(), "y".repeat(length)).into_bytes();
        let ack = producer.append(&payload).expect("the producer survives the fault");
        acks.push((payload, ack));
    }
    producer.close().expect("every record is acked");
    let settled = acks.into_iter().map(|(payload, ack)| {
        let position = ack.try_position().expect("closed").expect("durable");
        (payload, position)
    });
    settled.collect()
}

fn check_exactly_once(stored: &[Vec<u8>], appended: &[Vec<(Vec<u8>, u64)>], faults: u64) {
    let all: usize = appended.iter().map(Vec::len).sum();
    println!("{all} records survived {faults} faults");
    assert!(all as u64 > faults * 10, "only {all} records, too few to test anything");
    assert_eq!(stored.len(), all, "exactly the acked records");
    let distinct: HashSet<_> = stored.iter().collect();
    assert_eq!(distinct.len(), all, "no record is stored twice");
    for records in appended {
        assert!(
            records.is_sorted_by_key(|(_, position)| *position),
            "a producer's records are in order"
        );
        for (payload, position) in records {
            let at = usize::try_from(*position).expect("small");
            assert_eq!(stored.get(at), Some(payload), "at {position}");
        }
    }
}

/// While one client creates a log, another one was told that it exists and that it does not.
#[test]
fn log_can_be_created_by_several_clients_at_the_same_time() {
    const CLIENTS: usize = 6;
    let server = TestServer::start();
    let barrier = Barrier::new(CLIENTS);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = client(&server);
                for number in 0..30 {
                    barrier.wait();
                    let name = format!("log-{number}");
                    if let Err(error) = client.create_log(&name, LogConfig::default(), true) {
                        failed.lock().expect("no panic").push(error.to_string());
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().expect("no panic"), Vec::<String>::new());
}

#[test]
fn logs_can_be_created_listed_trimmed_restored_and_deleted() {
    let server = TestServer::start();
    let client = client(&server);
    create(&client, "b");
    create(&client, "a");
    let names = |client: &Client| -> Vec<String> {
        client.list_logs().expect("a list").into_iter().map(|info| info.name).collect()
    };
    assert_eq!(names(&client), ["a", "b"]);
    let again = client.create_log("a", LogConfig::default(), false).expect_err("the log exists");
    assert_eq!(again.kind(), Kind::Code(Code::LogExist));
    let config = LogConfig { log_max_age: 5, ..LogConfig::default() };
    client.create_log("a", config, true).expect("an existing log is accepted");
    let producer = client.producer("a").open().expect("it can be opened");
    producer.append_many(["one", "two", "three"]).expect("accepted");
    producer.close().expect("durable");
    let details = client.get_log_details("a").expect("the log exists");
    assert_eq!(details.id, producer.log_id());
    assert_eq!(details.info, client.get_log("a").expect("the log exists"));
    assert_eq!((details.info.end_position, details.config.log_max_age), (3, -1));
    assert!(details.timestamp_first_us <= details.timestamp_last_us);
    assert!(details.timestamp_first_us.is_some());
    assert_eq!(client.trim_log("a", 2).expect("the log exists").start_position, 0);

    let mut archive = Vec::new();
    let backup = client.backup_log("a").expect("it begins");
    assert_eq!(
        backup.write_to(&mut archive).expect("the backup is complete"),
        archive.len() as u64
    );
    let restore = client.restore_log("copy").expect("it begins");
    restore.read_from(&mut archive.as_slice()).expect("the archive is restored");
    assert_eq!(records(&server, "copy"), records(&server, "a"));
    let onto = client.restore_log("copy").expect("it begins");
    let error = onto.read_from(&mut archive.as_slice()).expect_err("the log exists");
    assert_eq!(error.kind(), Kind::Code(Code::LogExist));
    let cut = client.restore_log("cut").expect("it begins");
    let error = cut.read_from(&mut &archive[..archive.len() / 2]).expect_err("half an archive");
    assert_eq!(error.kind(), Kind::Code(Code::InvalidParams), "{error:?}");
    // A restore that is dropped before its end creates no log.
    let mut dropped = client.restore_log("given-up").expect("it begins");
    dropped.write(archive.clone().into()).expect("accepted");
    drop(dropped);
    client.truncate_log("b").expect("the log exists");
    client.delete_log("b").expect("the log exists");
    assert_eq!(names(&client), ["a", "copy"]);
    assert_eq!(
        client.delete_log("b").expect_err("the log is deleted").kind(),
        Kind::Code(Code::LogNotFound)
    );
}

#[test]
fn a_wrong_address_fails_immediately() {
    let server = TestServer::start();
    let address = server.address();
    drop(server);
    let started = Instant::now();
    let error = Client::connect(&format!("styx://{address}")).expect_err("no server is listening");
    assert_eq!((error.kind(), error.is_retriable()), (Kind::ConnectionFailed, true));
    assert!(error.message().contains("no server is listening"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    for wrong in ["ftp://localhost", "styx://", "http://a/b"] {
        let error = Client::connect(wrong).expect_err(wrong);
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }
}

/// Calls that change nothing are retried until the server is back.
#[test]
fn read_only_calls_wait_for_a_restarting_server() {
    let mut server = TestServer::start();
    let proxy = Proxy::start(server.address(), 3);
    let client =
        Client::connect(&format!("styx://{}", proxy.address())).expect("the server is listening");
    create(&client, "orders");
    server.kill();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.get_log("orders"));
        server.restart();
        proxy.forward_to(server.address());
        assert_eq!(
            asking.join().expect("the thread does not panic").expect("the call succeeds").name,
            "orders"
        );
    });
    let _ = server.ask(&Request::get("/logs/orders")).expect(200);
}
