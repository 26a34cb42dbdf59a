//! The scrub of a running server: damage in a finished segment that nobody reads
//! is found, and named; reading for it takes no more of the disk than it may.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use styx_tests::{Request, Settings, TestServer, wait};

/// How long anything may take: far longer than it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// A counter of the server's.
fn metric(server: &TestServer, name: &str) -> u64 {
    let answer = server.ask(&Request::get("/metrics")).expect(200);
    let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

fn stop(server: &mut TestServer) {
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn damage_in_a_finished_segment_is_found_by_the_running_server() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    server.create("other");
    for number in 0..40 {
        server.append("a", format!("this is record {number}."));
    }
    stop(&mut server);
    let file = server.data().join("a/0/00000000000000000010.seg");
    let bytes = std::fs::read(&file).expect("the second segment");
    let wanted = b"this is record 14.";
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there");
    let open = std::fs::OpenOptions::new().write(true).open(&file).expect("the segment");
    open.write_at(&[bytes[at + 5] ^ 4], at as u64 + 5).expect("it can be written");

    server.restart();
    wait::until_true("the scrub's find", PATIENCE, || {
        metric(&server, "styx_scrub_problems_total") > 0
    });
    wait::until_true("the pass's end", PATIENCE, || {
        metric(&server, "styx_scrub_passes_total") == 1
    });
    assert_eq!(metric(&server, "styx_scrub_problems_total"), 1, "one segment is damaged");
    assert_eq!(server.info("a")["status"], "corrupt");
    let status = "styx_log_status{log=\"a\",status=\"corrupt\"}";
    assert_eq!(metric(&server, status), 1);
    // Where to look: the block that holds the record, by file, byte and position.
    let block = at - 8 - 96;
    let place = format!("{}, byte {block}, position 14: ", file.display());
    let said = server.said();
    let line = said.lines().find(|line| line.contains(&place));
    let line = line.unwrap_or_else(|| panic!("no {place} in:\n{said}"));
    assert!(line.contains("ERROR") && line.contains("styx verify"), "{line}");
    // The log's appends end, its intact records and the other logs do not.
    let _ = server.ask(&styx_tests::api::write_one("a", "x")).expect(503);
    assert_eq!(server.read_from("a", 15).len(), 25);
    assert_eq!(server.info("other")["status"], "ok");
    server.append("other", "goes on");
    assert_eq!(std::fs::metadata(&file).expect("a segment").len(), bytes.len() as u64);
}

/// It reads at the rate that it was given, a portion of 1 MiB at a time, and it
/// is heard of nothing where there is nothing to hear.
#[test]
fn the_scrub_reads_no_faster_than_it_may() {
    const MIB: u64 = 1 << 20;
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_size=2097152");
    for _ in 0..32 {
        server.append_all("a", &vec![vec![b'x'; 100_000]; 5]);
    }
    stop(&mut server);
    let begin = Instant::now();
    server.restart_with(Settings::default().set_log_manager("scrub_bytes_per_second = 1048576"));
    let mut last = 0;
    loop {
        let read = metric(&server, "styx_scrub_bytes_total");
        // After the answer: all that was counted was read before.
        let allowed = begin.elapsed().as_millis() as u64 * MIB / 1000 + 2 * MIB;
        assert!(read <= allowed, "{read} bytes were read, where {allowed} are allowed");
        assert!(read >= last, "it only grows");
        last = read;
        if begin.elapsed() > Duration::from_secs(4) {
            break;
        }
        // That time passes is what is tested.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(last >= MIB, "only {last} bytes were read: it hardly goes on");
    assert!(last < 8 * MIB, "{last} bytes were read in 4 seconds");
    assert_eq!(metric(&server, "styx_scrub_passes_total"), 0, "16 MiB take their time");
    assert_eq!(metric(&server, "styx_scrub_problems_total"), 0);

    // As fast as it can be, the same is done in no time; and it can be none at all.
    stop(&mut server);
    server.restart_with(
        Settings::default().set_log_manager("scrub_bytes_per_second = 1099511627776"),
    );
    wait::until_true("the pass's end", PATIENCE, || {
        metric(&server, "styx_scrub_passes_total") == 1
    });
    let read = metric(&server, "styx_scrub_bytes_total");
    assert!((13 * MIB..17 * MIB).contains(&read), "{read} bytes of finished segments");
}
