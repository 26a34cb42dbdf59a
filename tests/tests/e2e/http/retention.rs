//! Retention by count, size and age, and trimming, while others read.

use std::time::{Duration, Instant};

use styx_tests::api::{read_binary, unbinary};
use styx_tests::{Request, TestServer, wait};

fn positions(server: &TestServer, log: &str) -> (u64, u64) {
    let info = server.info(log);
    let number = |field: &str| info[field].as_u64().expect("a number");
    assert_eq!(number("record_count"), number("end_position") - number("start_position"));
    (number("start_position"), number("end_position"))
}

#[test]
fn log_max_count_is_an_upper_bound_and_removes_whole_segments() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10&log_max_count=30");
    for number in 0..200u64 {
        server.append("a", format!("{number}"));
    }
    wait::until_true("at most 30 records", Duration::from_secs(10), || {
        let (start, end) = positions(&server, "a");
        end - start <= 30
    });
    let (start, end) = positions(&server, "a");
    assert_eq!(end, 200);
    assert_eq!(start % 10, 0, "retention removes whole segments");
    assert!((170..200).contains(&start), "the newest segment is kept: {start}");
    let expected: Vec<_> = (start..end).map(|n| format!("{n}").into_bytes()).collect();
    assert_eq!(server.read_all("a"), expected);
}

#[test]
fn log_max_size_is_an_upper_bound() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_size=2000&log_max_size=8000");
    for _ in 0..200 {
        server.append("a", vec![b'x'; 92]);
    }
    wait::until_true("at most 8000 bytes", Duration::from_secs(10), || {
        server.info("a")["file_size"].as_u64().expect("a size") <= 8000
    });
    let (start, end) = positions(&server, "a");
    assert_eq!(end, 200);
    assert!(start > 0 && end - start >= 20, "{start}..{end}: retention removed too much");
}

#[test]
fn log_max_age_removes_old_records_and_keeps_new_ones() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=5&log_max_age=2");
    let old = Instant::now();
    for _ in 0..11 {
        server.append("a", "old");
    }
    wait::until_true("the old segments go", Duration::from_secs(20), || {
        positions(&server, "a").0 >= 10
    });
    assert!(old.elapsed() > Duration::from_millis(1500), "too early: {:?}", old.elapsed());
    let end = server.append("a", "new");
    assert_eq!(server.read_from("a", end - 1), [b"new"]);
}

#[test]
fn segment_max_age_closes_an_old_segment() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_age=1&log_max_count=1");
    server.append("a", "first");
    wait::until_true("the first segment to be sealed and removed", Duration::from_secs(20), || {
        server.append("a", "next");
        positions(&server, "a").0 > 0
    });
}

#[test]
fn a_reader_under_retention_gets_records_in_order_or_out_of_range() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=20&log_max_count=100");
    let total = 3000u64;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut next, mut seen, mut out_of_range) = (0, 0u64, 0);
            while next < total {
                let request = read_binary("a", &format!("position={next}&follow=true"));
                let answer = server.ask(&request.header("X-Styx-Timeout", 5));
                if answer.status() == 416 {
                    let start = answer.json()["start_position"].as_u64().expect("a position");
                    assert!(start > next, "the error must name a later position than {next}");
                    (next, out_of_range) = (start, out_of_range + 1);
                    continue;
                }
                assert_eq!(answer.status(), 200, "{}", answer.shown());
                // A cut response may end inside a record.
                let whole = whole(&answer.body);
                for record in unbinary(whole) {
                    assert_eq!(
                        record,
                        format!("{next}").into_bytes(),
                        "a record was skipped silently"
                    );
                    (next, seen) = (next + 1, seen + 1);
                }
            }
            (seen, out_of_range)
        });
        let mut connection = server.connect();
        for number in (0..total).step_by(10) {
            let records: Vec<_> = (number..number + 10).map(|n| format!("{n}")).collect();
            let request = styx_tests::api::write_binary("a", &records);
            let _ = connection.exchange(&request).expect("an answer").expect(200);
        }
        let (seen, out_of_range) = reader.join().expect("the reader reached the end");
        assert!(seen >= 100, "{seen} records read, {out_of_range} times out of range");
    });
}

fn whole(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(size) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let next = at + 4 + u32::from_be_bytes(*size) as usize;
        if next > bytes.len() {
            break;
        }
        at = next;
    }
    &bytes[..at]
}

#[test]
fn an_open_read_is_complete_or_cut_when_its_log_is_trimmed() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=1000");
    for _ in 0..10 {
        server.append_all("a", &vec![vec![b'x'; 1000]; 1000]);
    }
    let mut connection = server.open_read(&read_binary("a", ""));
    let first = connection.piece().expect("a piece").expect("a piece").len();
    let _ = server.ask(&Request::post("/logs/a/trim?position=10000")).expect(200);
    // The response is complete or cut, but never ends as if it were complete.
    let (rest, ending) = connection.body().expect("the rest or a cut");
    let all = first + rest.len() == 10_000 * 1004;
    assert!(all || ending == styx_tests::http::Ending::Cut, "{first} + {} bytes", rest.len());
    assert_eq!(positions(&server, "a").1, 10_000);
}
