//! Many readers of records that are only in the archive, of which none continues.

use styx_tests::api::read_binary;
use styx_tests::store_proxy::{StoreFault, StoreRule};
use styx_tests::{Connection, Request, TestServer, wait};

use crate::support::{Archive, EVICT, PATIENCE, await_archived, await_evicted};

const READERS: usize = 1000;

/// The size of the log in MiB. A MiB has 16 records.
const MIB: u64 = 64;

/// More memory than the server had before the readers came.
const BYTES_MAX: u64 = 256 << 20;

/// A server with a log whose history is only in the archive.
fn server(archive: &Archive) -> TestServer {
    let mut server = archive.settings(EVICT).start();
    server.create_with("a", "segment_max_size=8388608");
    server.fill("a", MIB as usize);
    await_archived(&server, "a");
    await_evicted(&server, "a", 2);
    server.kill();
    server.restart();
    server
}

/// Readers that have sent their request, from positions all over the archived part. `begin` is called with the
/// connection of each.
fn readers(server: &TestServer, mut begin: impl FnMut(&mut Connection)) -> Vec<Connection> {
    let open = |reader: usize| {
        let mut connection = server.connect();
        let position = reader as u64 % (MIB - 16) * 16;
        let request = read_binary("a", &format!("position={position}"));
        connection.send(&request.bytes()).expect("the request can be sent");
        begin(&mut connection);
        connection
    };
    (0..READERS).map(open).collect()
}

#[test]
fn thousand_readers_that_stop_reading_archived_records_use_bounded_memory() {
    let archive = Archive::start();
    let server = server(&archive);
    let before = server.memory_bytes();
    let readers = readers(&server, |connection| {
        connection.head("GET").expect("the answer begins");
    });
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("{} readers: {} MiB more memory", readers.len(), more >> 20);
    assert!(more < BYTES_MAX, "{} MiB more memory", more >> 20);
    let answer = server.ask(&Request::get("/logs/a/records?position=0"));
    assert_eq!(answer.body.len(), (1 << 16) - 8, "another reader is served");
}

#[test]
fn thousand_readers_that_wait_for_a_store_that_hangs_use_bounded_memory() {
    let archive = Archive::start();
    let server = server(&archive);
    let before = server.memory_bytes();
    archive.proxy.inject(&[StoreRule::all(StoreFault::Hang)]);
    let readers = readers(&server, |_| {});
    wait::until_true("the store is asked", PATIENCE, || archive.proxy.faults() > 0);
    wait::until_true("all readers wait", PATIENCE, || {
        server.count("styx_connections") >= READERS as u64
    });
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("{} readers: {} MiB more memory", readers.len(), more >> 20);
    assert!(more < BYTES_MAX, "{} MiB more memory", more >> 20);
    drop(readers);
    archive.proxy.inject(&[]);
    wait::until_true("the store is used again", PATIENCE, || {
        server.ask(&Request::get("/logs/a/records?position=0")).status() == 200
    });
}
