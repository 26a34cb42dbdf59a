//! A server whose wall clock is wrong.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::api::now_us;
use styx_tests::clock::WrongClock;
use styx_tests::{Request, Scratch, TestServer, wait};

const YEAR: i64 = 365 * 86_400;

fn start_position(server: &TestServer) -> u64 {
    server.info("a")["start_position"].as_u64().expect("a position")
}

/// Regression test. Before 1970 and after the year 9999, the task of every HTTP/1
/// connection ended with a panic.
#[test]
fn a_server_answers_whatever_its_clock_says() {
    let scratch = Arc::new(Scratch::new("clock"));
    let clock = WrongClock::new(&scratch);
    clock.set_offset(-100 * YEAR);
    let mut server = clock.settings().start_in(scratch).expect("it starts before 1970");
    server.create("a");
    let mut records = 0;
    for (offset, date) in [
        (-100 * YEAR, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (0, " 20"),
        (50 * YEAR, " 20"),
        (-100 * YEAR, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (20_000 * YEAR, " 9999 "),
        (0, " 20"),
    ] {
        clock.set_offset(offset);
        // Several connections, so that every worker of the server serves one.
        for _ in 0..8 {
            records += 1;
            assert_eq!(server.append("a", "x"), records);
            let answer = server.ask(&Request::get("/health/live")).expect(200);
            let shown = answer.header("Date").expect("a date");
            assert!(shown.contains(date), "{offset}: {shown}");
            let _ = server.ask(&Request::get("/metrics")).expect(200);
            assert_eq!(server.ask_bytes(b"bad request\r\n\r\n").status(), 400);
        }
    }
    assert_eq!(server.read_all("a").len() as u64, records);
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(!stopped.log.contains("panicked"), "{}", stopped.log);
    assert!(stopped.log.contains("the system clock is not set"), "{}", stopped.log);
}

/// Regression test. The timestamps of a log never decrease, so a clock that was a year
/// ahead for a moment set all later timestamps to that year. Retention removed nothing
/// for a year.
#[test]
fn a_clock_that_is_a_year_ahead_for_a_moment_stops_no_retention() {
    let scratch = Arc::new(Scratch::new("clock"));
    let clock = WrongClock::new(&scratch);
    let mut server = clock.settings().start_in(scratch).expect("started");
    server.create_with("a", "segment_max_count=1&log_max_age=2");
    for offset in [0, YEAR, 0] {
        clock.set_offset(offset);
        server.append("a", "x");
        let reported = server.metric("styx_clock_offset_seconds").expect("a metric");
        assert!((reported - offset as f64).abs() < 60.0, "{offset}: {reported}");
    }
    assert_eq!(server.count("styx_clock_jumps_total"), 1);
    let info = server.ask(&Request::get("/logs/a?details=true")).expect(200).json();
    let last = info["timestamp_last"].as_u64().expect("a time");
    assert!(last <= now_us(), "{last}");
    wait::until_true("the old segments go", Duration::from_secs(20), || {
        start_position(&server) == 2
    });
    assert_eq!(server.log().matches("the system clock has jumped").count(), 1, "{}", server.log());

    // A server that starts while the clock is wrong cannot know it.
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    clock.set_offset(YEAR);
    server.restart();
    for _ in 0..3 {
        server.append("a", "x");
    }
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    clock.set_offset(0);
    server.restart();
    wait::until_true("a warning", Duration::from_secs(20), || {
        server.log().contains("the last timestamp of the log is in the future")
    });
    wait::until_true("segments from the future go", Duration::from_secs(20), || {
        start_position(&server) == 5
    });
    assert_eq!(server.append("a", "x"), 7);
}
