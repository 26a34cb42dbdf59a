//! Processes with the same producer id, each started while the previous one appends:
//! the newer fences the older, nothing is duplicated, and every acked record is stored.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use styx_tests::cli::styx;
use styx_tests::{Request, TestServer, wait};

/// A deadline that is far longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes that use the id, one after the other.
const TAKEOVERS: usize = 8;

/// A `styx logs write` that gets lines until `finish` is set or it exits.
///
/// It skips as many lines as its id has appended already. The log has no other
/// producer, so line `n` is at position `n`, whichever process appends it.
struct Writer {
    child: Child,
    finish: Arc<AtomicBool>,
    /// Returns the number of lines that were written.
    feeder: JoinHandle<u64>,
}

/// How a writer ended.
struct Ended {
    code: Option<i32>,
    stderr: String,
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
        let mut child = command.spawn().expect("it can be started");
        let mut input = child.stdin.take().expect("the stream is piped");
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

    /// Waits until it exits.
    fn end(mut self) -> Ended {
        let status =
            wait::until("the writer to exit", PATIENCE, || self.child.try_wait().expect("a child"));
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("the stream is piped");
        pipe.read_to_string(&mut stderr).expect("text");
        let lines = self.feeder.join().expect("the thread does not panic");
        Ended { code: status.code(), stderr, lines }
    }
}

/// The number of appended records in an error message.
fn acked(stderr: &str) -> u64 {
    if stderr.contains("nothing was appended") {
        return 0;
    }
    let (before, _) = stderr.split_once(" were appended").expect(stderr);
    before.rsplit('(').next().and_then(|n| n.strip_suffix(" records")?.parse().ok()).expect(stderr)
}

#[test]
fn a_newer_process_with_the_same_producer_id_fences_the_older_and_nothing_is_duplicated() {
    let server = TestServer::start();
    server.create("a");
    let newest = Request::get("/logs/a/records?whence=end&position=-1");
    let mut writers = Vec::new();
    for number in 0..TAKEOVERS {
        writers.push(Writer::start(&server, number, ["none", "lz4", "zstd"][number % 3]));
        // Start the next one when this one has appended a record.
        let own = format!(" of writer {number}");
        wait::until_true("its records", PATIENCE, || {
            let answer = server.ask(&newest);
            answer.status() == 200 && answer.text().ends_with(&own)
        });
    }
    let last = writers.pop().expect("the last writer");
    let fenced: Vec<Ended> = writers.into_iter().map(Writer::end).collect();
    last.finish.store(true, Ordering::Relaxed);
    let last = last.end();
    assert_eq!((last.code, last.stderr.as_str()), (Some(0), ""), "the last writer was not fenced");

    let stored = server.read_all("a");
    assert_eq!(stored.len() as u64, last.lines, "every line of the last writer is stored");
    // The writers appended one after the other, and each line is at its position.
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
        assert_eq!(ended.code, Some(1), "writer {number}: {}", ended.stderr);
        assert!(ended.stderr.contains("took over"), "writer {number}: {}", ended.stderr);
        let (stored, acked) = (begins[number + 1] - begins[number], acked(&ended.stderr));
        assert!(stored > 0, "writer {number} had appended something");
        assert!(
            acked <= stored,
            "writer {number}: {acked} acked, {stored} stored: {}",
            ended.stderr
        );
        acked_by_all += acked;
    }
    assert!(acked_by_all > 0, "no fenced writer had acked records, too few to test anything");
}
