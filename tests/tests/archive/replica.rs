//! Read replicas: `styx serve --replica-of` beside a server that is killed under load, and what a
//! replica refuses.

use std::sync::Arc;
use std::time::Duration;

use styx_client::blocking::Client;
use styx_client::consumer::{Polled, Start};
use styx_protocol::frame::Route;
use styx_tests::api::{read_binary, unbinary, write_one};
use styx_tests::object_store::ObjectStore;
use styx_tests::random::Random;
use styx_tests::store_proxy::{StoreFault, StoreRule};
use styx_tests::styx0::{self, Message, Styx0Stream};
use styx_tests::{Request, Response, Scratch, Settings, TestServer, styx1, wait, websocket};

use crate::support::{Archive, EVICT, PATIENCE, append, await_archived, detail, payload};

const CYCLES: u64 = 8;
const RECORDS: u64 = 150;
const TOTAL: u64 = CYCLES * RECORDS;

/// A read replica, which reaches the store without the proxy.
fn settings(archive: &Archive) -> Settings {
    let (url, address) = (archive.store.url(), archive.store.address());
    let table = format!(
        "[archive]\nreplica_of = \"{url}\"\nendpoint = \"http://{address}\"\nrefresh = 1\n"
    );
    let settings = Settings::default().table(&table);
    ObjectStore::credentials()
        .iter()
        .fold(settings, |settings, (name, value)| settings.variable(name, value))
}

#[track_caller]
fn await_end(replica: &TestServer, log: &str, end: u64) {
    wait::until_true("the replica has the records", PATIENCE, || {
        let answer = replica.ask(&Request::get(&format!("/logs/{log}")));
        answer.status() == 200 && replica.info(log)["end_position"] == end
    });
}

/// Reads all records of the log `a`, as soon as they are there.
type Follow = fn(&TestServer) -> Vec<Vec<u8>>;

/// Follows the log over HTTP, with long polls.
fn over_http(replica: &TestServer) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while (records.len() as u64) < TOTAL {
        let query = format!("position={}&follow=true", records.len());
        records.extend(unbinary(&replica.ask(&read_binary("a", &query)).expect(200).body));
    }
    records
}

fn over_websocket(replica: &TestServer) -> Vec<Vec<u8>> {
    let mut socket = replica.websocket_read("a", "whence=start&follow=true");
    socket.set_patience(PATIENCE);
    (0..TOTAL).map(|_| socket.record()).collect()
}

fn over_styx1(replica: &TestServer) -> Vec<Vec<u8>> {
    let client = Client::builder(&format!("styx://{}", replica.address())).build();
    let client = client.expect("a client");
    let consumer = client.consumer("a").start(Start::Start).follow(true);
    let mut consumer = consumer.open().expect("a consumer");
    let mut records = Vec::new();
    while (records.len() as u64) < TOTAL {
        match consumer.poll(PATIENCE).expect("no error") {
            Polled::Batch(batch) => records.extend(batch.iter().map(|r| r.payload().to_vec())),
            other => panic!("{other:?}"),
        }
    }
    records
}

fn over_styx0(replica: &TestServer) -> Vec<Vec<u8>> {
    let mut stream = Styx0Stream::consume(replica, "a", "whence=start&follow=true");
    let mut records = Vec::new();
    while (records.len() as u64) < TOTAL {
        match stream.message().expect("a message") {
            Message::Record(payload) => records.push(payload),
            Message::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
    records
}

#[test]
fn replica_follows_a_killed_server_over_every_protocol_and_has_exactly_its_records() {
    let archive = Archive::start();
    archive.proxy.inject(&[StoreRule::all(StoreFault::AnswerAfterSuccess(503)).one_in(7)]);
    let mut primary = archive.settings(EVICT).start();
    let mut replica = settings(&archive).start();
    primary.create_with("a", "segment_max_size=16384");
    append(&primary, "a", 0, RECORDS);
    wait::until_true("the replica has the log", PATIENCE, || {
        replica.ask(&Request::get("/logs/a")).status() == 200
    });
    let expected: Vec<Vec<u8>> = (0..TOTAL).map(payload).collect();
    let mut random = Random::new(Random::fresh_seed());
    std::thread::scope(|scope| {
        let protocols: [(&str, Follow); 4] = [
            ("HTTP", over_http),
            ("WebSocket", over_websocket),
            ("styx/1", over_styx1),
            ("styx/0", over_styx0),
        ];
        let replica = &replica;
        let followers =
            protocols.map(|(protocol, read)| (protocol, scope.spawn(move || read(replica))));
        for cycle in 1..CYCLES {
            append(&primary, "a", cycle * RECORDS, RECORDS);
            std::thread::sleep(Duration::from_millis(random.between(0, 400)));
            primary.kill();
            primary.restart();
        }
        await_archived(&primary, "a");
        for (protocol, follower) in followers {
            assert!(follower.join().expect("it reads") == expected, "over {protocol}");
        }
    });
    assert_eq!(detail(&replica, "a", "archived_position"), Some(TOTAL));
    assert_eq!(replica.log_id("a"), primary.log_id("a"));
    assert!(primary.read_all("a") == expected);

    // A kill of the replica loses nothing that it has shown.
    for _ in 0..3 {
        replica.kill();
        replica.restart();
        assert!(replica.read_all("a") == expected);
    }
    archive.proxy.inject(&[]);
    archive.verify();
}

#[test]
fn everything_that_writes_is_refused_over_every_protocol_and_names_the_owner() {
    let archive = Archive::start();
    let primary = archive.settings("").start();
    primary.create("a");
    primary.append("a", "record");
    await_archived(&primary, "a");
    let replica = settings(&archive).start();
    await_end(&replica, "a", 1);
    let backup = replica.backup("a");

    let refused = |answer: &Response, what: &str| {
        assert_eq!((answer.status(), answer.code()), (403, "read_only".to_owned()), "{what}");
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains("read replica"), "{what}: {message}");
        message
    };
    let owner = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let json = "application/json";
    for request in [
        write_one("a", "x"),
        write_one("a", ""),
        Request::post("/logs/a/records").typed("text/plain", "a line\n"),
        Request::delete("/logs/a"),
        Request::post("/logs/a/truncate"),
        Request::post("/logs/a/trim?position=0"),
        Request::post("/logs/a/adopt"),
        Request::new("PUT", "/logs/a/cursors/c").typed(json, "{\"position\":0}"),
        Request::delete("/logs/a/cursors/c"),
    ] {
        let message = refused(&replica.ask(&request), &format!("{request:?}"));
        assert!(message.contains(owner.trim()), "{message}");
    }
    refused(&replica.ask(&Request::post("/logs").form("name=b")), "create");
    refused(&replica.restore("b", backup.clone()), "restore");

    let upgrade = websocket::handshake("/logs/a/records?mode=write");
    refused(&replica.upgrade(&upgrade).expect_err("refused"), "WebSocket");
    let upgrade = styx0::handshake("POST", "a", "");
    refused(&Styx0Stream::open(&replica, &upgrade).expect_err("refused"), "styx/0");
    let upgrade = styx1::produce_request("a", "");
    let opened = styx1::try_open(&replica, &upgrade, Route::ServerToProducer);
    refused(&opened.expect_err("refused"), "styx/1");

    let client = Client::builder(&format!("styx://{}", replica.address())).build();
    let client = client.expect("a client");
    let error = client.producer("a").open().expect_err("refused");
    assert_eq!((error.code(), error.is_retriable()), ("read_only", false));

    // Requests that only read work, and the restored backup has the record.
    for path in
        ["/logs", "/logs/a?details=true", "/logs/a/cursors", "/status", "/metrics", "/health/ready"]
    {
        let _ = replica.ask(&Request::get(path)).expect(200);
    }
    assert_eq!(replica.metric("styx_replica_logs"), Some(1.0));
    assert_eq!(replica.metric("styx_replica_refresh_failures_total"), Some(0.0));
    let _ = primary.restore("b", backup).expect(200);
    assert_eq!(primary.read_all("b"), [b"record".to_vec()]);
    assert_eq!(replica.read_all("a"), [b"record".to_vec()]);
}

#[test]
fn server_is_either_a_replica_or_archives_its_logs() {
    let archive = Archive::start();
    let url = archive.store.url();
    let both = settings(&archive).argument(&format!("--set=archive.url={url}"));
    let refusal = both.start_in(Arc::new(Scratch::new("server"))).expect_err("refused");
    assert!(refusal.output.contains("either archives its logs or is a replica"), "{refusal}");

    // The logs of a data directory are the server's own, or those of the archive.
    let mut primary = archive.settings("").start();
    primary.create("a");
    primary.kill();
    let scratch = Arc::clone(primary.scratch());
    let refusal = settings(&archive).start_in(scratch).expect_err("refused");
    assert!(refusal.output.contains("choose an empty directory"), "{refusal}");
    let mut replica = settings(&archive).start();
    replica.kill();
    let scratch = Arc::clone(replica.scratch());
    let refusal = archive.settings("").start_in(scratch).expect_err("refused");
    assert!(refusal.output.contains("--replica-of"), "{refusal}");
}
