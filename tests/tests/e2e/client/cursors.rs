//! The client core's cursors against a real server, over connections that break at any moment.

use std::time::Duration;

use styx_client::blocking::{Client, Consumer};
use styx_client::consumer::{Polled, Start};
use styx_client::{Code, Kind};
use styx_tests::proxy::{LinkFaults, Proxy};
use styx_tests::{Request, TestServer};

/// A deadline that is far longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(address: &str) -> Client {
    Client::builder(&format!("styx://{address}"))
        .silence_timeout(Duration::from_secs(2))
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

fn server(records: usize) -> TestServer {
    let server = TestServer::with_log("a");
    let lines: String = (0..records).map(|n| format!("{n}\n")).collect();
    let _ = server.ask(&styx_tests::api::write_lines("a", &lines)).expect(200);
    server
}

/// The positions of the next `count` records.
fn take(consumer: &mut Consumer, count: usize) -> Vec<u64> {
    let mut next = || consumer.next_record().expect("no error").expect("a record").position();
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_consumer_continues_where_its_cursor_is() {
    let server = server(20);
    let client = client(&server.address().to_string());
    let mut first = client.consumer("a").cursor("billing").start(5).open().expect("opened");
    // The cursor exists from the start on, so nothing can be skipped.
    assert_eq!(client.get_cursor("a", "billing").expect("created").position, 5);
    assert_eq!(take(&mut first, 4), [5, 6, 7, 8]);
    let commit = first.commit().expect("ours");
    assert_eq!(commit.position().expect("stored"), 9);
    assert_eq!(take(&mut first, 2), [9, 10]);
    first.close();
    let mut second =
        client.consumer("a").cursor("billing").start(Start::End).open().expect("opened");
    assert_eq!(take(&mut second, 1), [9], "what was not committed comes again");
    let listed = client.list_cursors("a").expect("listed");
    assert_eq!((listed.len(), listed[0].position), (1, 9));
    drop(second);
    client.set_cursor("a", "billing", 18).expect("set");
    let mut third = client.consumer("a").cursor("billing").open().expect("opened");
    assert_eq!(take(&mut third, 2), [18, 19]);
    client.delete_cursor("a", "billing").expect("deleted");
    let lost = third.commit().expect("accepted").position().expect_err("deleted");
    assert_eq!(lost.kind(), Kind::Code(Code::CursorTaken));
    let missing = client.get_cursor("a", "billing").expect_err("deleted");
    assert_eq!(missing.kind(), Kind::Code(Code::CursorNotFound));
}

#[test]
fn the_second_consumer_takes_the_cursor_over() {
    let server = server(20);
    let client = client(&server.address().to_string());
    let mut old = client.consumer("a").cursor("c").open().expect("opened");
    assert_eq!(take(&mut old, 3), [0, 1, 2]);
    old.commit().expect("ours").position().expect("stored");
    let mut new = client.consumer("a").cursor("c").open().expect("opened");
    assert_eq!(take(&mut old, 3), [3, 4, 5], "the old consumer can still read");
    let taken = old.commit().expect("accepted").position().expect_err("taken");
    assert_eq!(taken.kind(), Kind::Code(Code::CursorTaken), "{taken:?}");
    assert!(taken.message().contains("another consumer has taken the cursor c over"), "{taken}");
    assert_eq!(old.commit().expect_err("lost").kind(), Kind::Code(Code::CursorTaken));
    assert_eq!(take(&mut new, 1), [3]);
    assert_eq!(new.commit().expect("ours").position().expect("stored"), 4);
}

#[test]
fn a_truncated_log_ends_the_cursor() {
    let server = server(5);
    let client = client(&server.address().to_string());
    let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
    assert_eq!(take(&mut consumer, 2), [0, 1]);
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    let changed = consumer.commit().expect("accepted").position().expect_err("truncated");
    assert_eq!(changed.kind(), Kind::Code(Code::LogChanged), "{changed:?}");
    let changed = client.consumer("a").cursor("c").open().expect_err("an old cursor");
    assert_eq!(changed.kind(), Kind::Code(Code::LogChanged), "{changed:?}");
    client.set_cursor("a", "c", 0).expect("set to the new log");
    client.consumer("a").cursor("c").open().expect("opened");
}

#[test]
fn commits_survive_connections_that_break_at_any_moment() {
    const RECORDS: usize = 400;
    let server = server(RECORDS);
    let proxy = Proxy::start(server.address(), 7);
    let client = client(&proxy.address().to_string());
    let direct = self::client(&server.address().to_string());
    proxy.inject(Some(LinkFaults::frequent()));
    let mut committed = 0;
    let mut commits = 0;
    while committed < RECORDS as u64 {
        let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
        assert_eq!(consumer.position(), committed, "each consumer continues at the last commit");
        for _ in 0..8 {
            if committed == RECORDS as u64 {
                break;
            }
            for _ in 0..10 {
                let record = consumer.next_record().expect("no error").expect("a record");
                assert_eq!(record.position(), committed);
                committed += 1;
            }
            let commit = consumer.commit().expect("nobody else uses the cursor");
            // Some commits are followed by others before they are stored.
            if committed % 20 == 0 {
                assert!(commit.position().expect("stored") >= committed);
            }
            commits += 1;
        }
        consumer.commit().expect("ours").position().expect("stored");
        assert_eq!(direct.get_cursor("a", "c").expect("there").position, committed);
    }
    assert_eq!(commits, 40);
    assert!(proxy.cuts() > 10, "{} cuts are too few to test anything", proxy.cuts());
}

#[test]
fn commits_continue_after_a_restart_of_the_server() {
    let mut server = server(10);
    // The server gets another port at its restart.
    let proxy = Proxy::start(server.address(), 7);
    let client = client(&proxy.address().to_string());
    let mut consumer = client.consumer("a").cursor("c").follow(true).open().expect("opened");
    let Polled::Batch(batch) = consumer.poll(PATIENCE).expect("no error") else { panic!("none") };
    server.kill();
    let commit = consumer.commit().expect("ours");
    assert!(commit.try_position().is_none(), "there is no server");
    server.restart();
    proxy.forward_to(server.address());
    assert_eq!(commit.position().expect("stored"), batch.next_position());
    let stored = client.get_cursor("a", "c").expect("there");
    assert_eq!(stored.position, batch.next_position());
}
