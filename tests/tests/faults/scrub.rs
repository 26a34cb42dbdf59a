//! The scrub of a running server: it finds and reports damage in a finished segment
//! that no client reads, and respects its rate limit.

use std::time::{Duration, Instant};

use styx_tests::{Settings, TestServer, damage, wait};

/// A deadline that is far longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let (file, at) = damage::flip_bit(&server.data().join("a"), b"this is record 14.");
    assert!(file.ends_with("0/00000000000000000010.seg"), "the second segment: {file:?}");
    let bytes = std::fs::metadata(&file).expect("the segment").len();
    server.restart();
    wait::until_true("the scrub's find", PATIENCE, || {
        server.count("styx_scrub_problems_total") > 0
    });
    wait::until_true("the pass's end", PATIENCE, || server.count("styx_scrub_passes_total") == 1);
    assert_eq!(server.count("styx_scrub_problems_total"), 1, "one segment is damaged");
    assert_eq!(server.info("a")["status"], "corrupt");
    let status = "styx_log_status{log=\"a\",status=\"corrupt\"}";
    assert_eq!(server.count(status), 1);
    // The log line names file, byte and position of the block that holds the record.
    let block = at - 8 - 96;
    let place = format!("{}, byte {block}, position 14: ", file.display());
    let log = server.log();
    let line = log.lines().find(|line| line.contains(&place));
    let line = line.unwrap_or_else(|| panic!("no {place} in:\n{log}"));
    assert!(line.contains("ERROR") && line.contains("styx verify"), "{line}");
    // The log rejects appends. Its intact records and the other logs stay available.
    let _ = server.ask(&styx_tests::api::write_one("a", "x")).expect(503);
    assert_eq!(server.read_from("a", 15).len(), 25);
    assert_eq!(server.info("other")["status"], "ok");
    server.append("other", "goes on");
    assert_eq!(std::fs::metadata(&file).expect("a segment").len(), bytes);
}

/// The scrub reads at the configured rate, 1 MiB at a time, and reports nothing if
/// there is no damage.
#[test]
fn the_scrub_respects_its_rate_limit() {
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
        let read = server.count("styx_scrub_bytes_total");
        // Computed after the response: all counted bytes were read before it.
        let allowed = begin.elapsed().as_millis() as u64 * MIB / 1000 + 2 * MIB;
        assert!(read <= allowed, "{read} bytes were read, but {allowed} are allowed");
        assert!(read >= last, "the counter never decreases");
        last = read;
        if begin.elapsed() > Duration::from_secs(4) {
            break;
        }
        // Passing time is what this test is about.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(last >= MIB, "only {last} bytes were read: the scrub is too slow");
    assert!(last < 8 * MIB, "{last} bytes were read in 4 seconds");
    assert_eq!(server.count("styx_scrub_passes_total"), 0, "16 MiB take longer than this");
    assert_eq!(server.count("styx_scrub_problems_total"), 0);

    // Without a practical limit, the same pass ends soon.
    stop(&mut server);
    server.restart_with(
        Settings::default().set_log_manager("scrub_bytes_per_second = 1099511627776"),
    );
    wait::until_true("the pass's end", PATIENCE, || server.count("styx_scrub_passes_total") == 1);
    let read = server.count("styx_scrub_bytes_total");
    assert!((13 * MIB..17 * MIB).contains(&read), "{read} bytes of finished segments");
}
