//! `min_free_disk` with less free space than the reserve: what is refused, in every protocol, and
//! what still works. `faults::disk` fills a disk.

use styx_protocol::Code;
use styx_protocol::frame::Outcome;
use styx_tests::api::write_one;
use styx_tests::styx0::{Message, Styx0Stream, record};
use styx_tests::websocket::TEXT;
use styx_tests::{Request, Settings, TestServer, styx1};

/// A server whose reserve is larger than any disk, with a log of one record.
fn start() -> TestServer {
    let mut server = TestServer::start();
    server.create("a");
    server.append("a", "kept");
    let archive = server.ask(&Request::get("/logs/a/backup")).expect(200);
    std::fs::write(server.scratch().join("archive"), &archive.body).expect("written");
    assert!(server.stop().status.success());
    server.restart_with(Settings::default().set("min_free_disk = 1125899906842624"));
    server
}

#[test]
fn every_protocol_reports_the_disk_reserve_as_a_full_disk() {
    let server = start();
    // More than the space that is prepared for small commits.
    let payload = vec![b'x'; 100_000];
    let refused = server.ask(&write_one("a", payload.clone())).expect_error(507, "storage_full");
    for part in ["min_free_disk", "bytes on the storage", "free some space"] {
        assert!(refused.text().contains(part), "{}", refused.shown());
    }
    let mut websocket = server.websocket_write("a", "&acks=true");
    websocket.send(TEXT, &payload);
    assert!(websocket.expect_close(4022).contains("min_free_disk"));
    let mut styx0 = Styx0Stream::produce(&server, "a");
    styx0.send(&record(&payload));
    assert_eq!(styx0.message(), Some(Message::Error(0)));
    let mut styx1 = styx1::produce(&server, "a", "");
    styx1.send_blocks(&[styx1::block(&[&payload])]);
    let fault = styx1.fails_with(Code::StorageFull);
    assert_eq!(fault.outcome, Outcome::NotAppended);
    let info = server.info("a");
    assert_eq!((&info["status"], &info["end_position"]), (&"ok".into(), &1.into()));
    assert_eq!(server.count("styx_disk_reserve_reached"), 1);
}

#[test]
fn new_logs_and_restores_are_refused_and_everything_else_works() {
    let server = start();
    let create = Request::post("/logs").form("name=b");
    let _ = server.ask(&create).expect_error(507, "storage_full");
    let archive = std::fs::read(server.scratch().join("archive")).expect("it was written");
    let restore = Request::post("/logs/restore?name=c").body(archive);
    let _ = server.ask(&restore).expect_error(507, "storage_full");
    let names = std::fs::read_dir(server.data()).expect("the directory").filter_map(|entry| {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        (!name.starts_with(".lock")).then_some(name)
    });
    assert_eq!(names.collect::<Vec<_>>(), ["a"], "nothing is left of the refused ones");

    assert_eq!(server.read_all("a"), [b"kept"]);
    let cursor = Request::new("PUT", "/logs/a/cursors/reader");
    let cursor = cursor.typed("application/json", "{\"position\": 1}");
    let _ = server.ask(&cursor).expect(200);
    for request in [
        Request::post("/logs/a/trim?position=1"),
        Request::get("/logs/a/backup"),
        Request::post("/logs/a/truncate"),
        Request::delete("/logs/a"),
    ] {
        let _ = server.ask(&request).expect(200);
    }
}
