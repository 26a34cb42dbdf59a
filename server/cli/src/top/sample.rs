//! [`Sample`]: an answer of `GET /status`, and the thread that asks for them.
//!
//! ```text
//! screen ─ Request ─▶ feed (every interval, or at once) ─▶ GET /status ─▶ Event ─▶ screen
//! ```
//! Invariant: one request is under way at a time, so a slow server is not asked faster.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use styx_client::Error;
use styx_client::blocking::Client;
use styx_protocol::{Code, LogConfig};

use crate::failure::Failure;

/// The server at one moment.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Sample {
    pub(super) version: String,
    pub(super) time: u64,
    pub(super) uptime_us: u64,
    pub(super) connections: Connections,
    pub(super) streams: BTreeMap<String, u64>,
    pub(super) memory: Memory,
    pub(super) disk: Disk,
    pub(super) warnings: Vec<Warning>,
    pub(super) logs: Vec<LogSample>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
pub(super) struct Connections {
    pub(super) open: u64,
    pub(super) max: u64,
    pub(super) closed_idle: u64,
    pub(super) refused: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
pub(super) struct Memory {
    pub(super) in_flight_bytes: u64,
    pub(super) answer_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
pub(super) struct Disk {
    pub(super) free_bytes: Option<u64>,
    pub(super) reserve_bytes: u64,
    pub(super) is_reserve_reached: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct Warning {
    pub(super) code: String,
    pub(super) message: String,
}

/// A log at one moment.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(super) struct LogSample {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) record_count: u64,
    pub(super) start_position: u64,
    pub(super) end_position: u64,
    pub(super) disk_bytes: u64,
    pub(super) segments: u64,
    pub(super) queue_bytes: u64,
    pub(super) records_appended: u64,
    pub(super) bytes_written: u64,
    pub(super) records_read: u64,
    pub(super) bytes_read: u64,
    pub(super) followers: u64,
    pub(super) follower_lag: u64,
    pub(super) cursors: Option<u64>,
    pub(super) cursor_lag: Option<u64>,
}

/// The rest of what there is to know about one log.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
pub(super) struct Details {
    pub(super) log_id: String,
    pub(super) config: LogConfig,
    pub(super) timestamp_first: Option<u64>,
    pub(super) timestamp_last: Option<u64>,
    pub(super) segments: Vec<Segment>,
    pub(super) cursors: Option<Vec<Cursor>>,
    pub(super) followers: Vec<Follower>,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct Segment {
    pub(super) start_position: u64,
    pub(super) end_position: u64,
    pub(super) disk_bytes: u64,
    pub(super) timestamp_first: Option<u64>,
    pub(super) timestamp_last: Option<u64>,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct Cursor {
    pub(super) cursor: String,
    pub(super) position: u64,
    pub(super) updated: u64,
    pub(super) lag: Option<u64>,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct Follower {
    pub(super) protocol: String,
    pub(super) principal: String,
    pub(super) peer: Option<String>,
    pub(super) since: u64,
    pub(super) position: u64,
    pub(super) lag: u64,
}

/// Asks for the whole server.
pub(super) fn fetch(client: &Client) -> Result<Sample, Failure> {
    get(client, "/status")
}

/// Asks for the server with one log and its details. A name of a log needs no escapes.
fn fetch_log(client: &Client, log: &str) -> Result<Sample, Failure> {
    get(client, &format!("/status?log={log}"))
}

fn get(client: &Client, path: &str) -> Result<Sample, Failure> {
    let text = client.get_text(path).map_err(|error| failed(client, error))?;
    serde_json::from_str(&text).map_err(|error| {
        let address = client.address();
        Failure::Failed(format!(
            "the answer of {address} to GET {path} is not that of a Styx server of this version: \
             {error}; choose another server with --host"
        ))
    })
}

fn failed(client: &Client, error: Error) -> Failure {
    if error.code() == Code::NotFound.as_str() {
        return Failure::Failed(format!(
            "the server at {} is older than this command and has no /status: upgrade the server",
            client.address()
        ));
    }
    error.into()
}

/// The next action of the screen.
#[derive(Debug)]
pub(super) enum Request {
    /// Show the details of this log, or none, from now on.
    Details(Option<String>),
    /// A sample now.
    Now,
}

/// The result of one request of the feed.
#[derive(Debug)]
pub(super) enum Event {
    Sample(Box<Sample>),
    /// A log with its details. `None` if the server does not have it any more.
    Details(Option<Box<Sample>>),
    Failed(String),
}

/// The thread that asks. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    requests: Sender<Request>,
    pub(super) events: Receiver<Event>,
}

impl Feed {
    pub(super) fn start(client: Client, interval: Duration) -> Result<Feed, Failure> {
        let ((requests, requested), (sender, events)) = (channel(), channel());
        let work = move || run(&client, interval, &requested, &sender);
        let thread = std::thread::Builder::new().name("styx-top".to_owned()).spawn(work);
        thread.map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Feed { requests, events })
    }

    pub(super) fn request(&self, request: Request) {
        // If the thread has ended, its missing events say so.
        let _ = self.requests.send(request);
    }
}

fn run(client: &Client, interval: Duration, requested: &Receiver<Request>, events: &Sender<Event>) {
    let mut details: Option<String> = None;
    loop {
        let due = Instant::now() + interval;
        let sampled = fetch(client);
        let is_up = sampled.is_ok();
        let event = sampled.map_or_else(
            |failure| Event::Failed(failure.into_message()),
            |sample| Event::Sample(Box::new(sample)),
        );
        if events.send(event).is_err() {
            return;
        }
        let mut is_wanted = is_up;
        loop {
            if let (Some(log), true) = (&details, is_wanted) {
                let details = fetch_log(client, log).ok().map(Box::new);
                if events.send(Event::Details(details)).is_err() {
                    return;
                }
            }
            match requested.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Request::Details(log)) => (details, is_wanted) = (log, true),
                Ok(Request::Now) | Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
