//! Processes with one producer id, each begun while the one before is at work:
//! the older is fenced, nothing is doubled, and nothing was acked that is not
//! stored.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use styx_tests::cli::styx;
use styx_tests::{Request, TestServer, wait};

/// How long anything may take: far longer than it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the id is taken over.
const TAKEOVERS: usize = 8;

/// A `styx logs write` that is given lines until it is told to finish, or ends.
///
/// It skips as many of them as its id has appended already. Its log has no other
/// id, so line `n` of whoever appends it belongs at position `n`.
struct Writer {
    child: Child,
    finish: Arc<AtomicBool>,
    /// Gives the number of lines that were written.
    feeder: JoinHandle<u64>,
}

/// How a writer ended.
struct Ended {
    code: Option<i32>,
    said: String,
    lines: u64,
}

fn line(writer: usize, number: u64) -> String {
    format!("line {number} of writer {writer}")
}

impl Writer {
    fn start(server: &TestServer, number: usize, codec: &str) -> Writer {
        let arguments = ["logs", "write", "a", "--producer-id", "7", "-c", codec];
        let mut command = styx(&arguments);
        command.args(["-H", &server.url("")]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut input = child.stdin.take().expect("it is piped");
        let finish = Arc::new(AtomicBool::new(false));
        let is_to_finish = Arc::clone(&finish);
        let feeder = std::thread::spawn(move || {
            let mut lines = 0;
            while !is_to_finish.load(Ordering::Relaxed) {
                let some: String = (lines..lines + 100).map(|n| line(number, n) + "\n").collect();
                if input.write_all(some.as_bytes()).is_err() {
                    break;
                }
                lines += 100;
            }
            lines
        });
        Writer { child, finish, feeder }
    }

    /// Waits for its end.
    fn end(mut self) -> Ended {
        let status = wait::until("its end", PATIENCE, || self.child.try_wait().expect("a child"));
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("text");
        let lines = self.feeder.join().expect("no panic");
        Ended { code: status.code(), said, lines }
    }
}

/// How many records an error says were appended.
fn acked(said: &str) -> u64 {
    if said.contains("nothing was appended") {
        return 0;
    }
    let (before, _) = said.split_once(" were appended").expect(said);
    before.rsplit('(').next().and_then(|n| n.strip_suffix(" records")?.parse().ok()).expect(said)
}

#[test]
fn of_processes_with_one_producer_id_the_older_is_fenced_and_nothing_is_doubled() {
    let server = TestServer::start();
    server.create("a");
    let newest = Request::get("/logs/a/records?whence=end&position=-1");
    let mut writers = Vec::new();
    for number in 0..TAKEOVERS {
        writers.push(Writer::start(&server, number, ["none", "lz4", "zstd"][number % 3]));
        // Once one of its own is there, it is at work: the next one begins.
        let own = format!(" of writer {number}");
        wait::until_true("its records", PATIENCE, || {
            let answer = server.ask(&newest);
            answer.status() == 200 && answer.text().ends_with(&own)
        });
    }
    let last = writers.pop().expect("the last one");
    let fenced: Vec<Ended> = writers.into_iter().map(Writer::end).collect();
    last.finish.store(true, Ordering::Relaxed);
    let last = last.end();
    assert_eq!((last.code, last.said.as_str()), (Some(0), ""), "nobody took its id");

    let stored = server.read_all("a");
    assert_eq!(stored.len() as u64, last.lines, "all that the last one was given is there");
    // Whose each record is: one after the other, and each line where it belongs.
    let mut owner = 0;
    let mut begins = vec![0];
    for (position, record) in (0..).zip(&stored) {
        while *record != line(owner, position).into_bytes() {
            owner += 1;
            begins.push(position);
            assert!(owner < TAKEOVERS, "{} at {position}", record.escape_ascii());
        }
    }
    begins.push(last.lines);
    let mut acked_by_all = 0;
    for (number, ended) in fenced.iter().enumerate() {
        assert_eq!(ended.code, Some(1), "writer {number}: {}", ended.said);
        assert!(ended.said.contains("took over"), "writer {number}: {}", ended.said);
        let (stored, acked) = (begins[number + 1] - begins[number], acked(&ended.said));
        assert!(stored > 0, "writer {number} had appended something");
        assert!(acked <= stored, "writer {number}: {acked} acked, {stored} stored: {}", ended.said);
        acked_by_all += acked;
    }
    assert!(acked_by_all > 0, "none of them was at work: that proves little");
}
