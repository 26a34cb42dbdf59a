//! Create, append, read: the calls that most tests start with.

use serde_json::Value;

use crate::TestServer;
use crate::http::{Connection, Request, Response};

/// The media type of length-prefixed records.
pub const BINARY: &str = "application/vnd.styx.binary-records";
/// The media type of records on lines.
pub const LINES: &str = "application/vnd.styx.line-delimited";
/// The media type of one record.
pub const ONE: &str = "application/octet-stream";

/// The answer to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Position after the request's last record.
    pub position: u64,
    /// Records that it added.
    pub count: u64,
}

/// Parses the answer to a write, whatever its status.
#[must_use]
pub fn written(response: &Response) -> Option<Written> {
    let json: Value = serde_json::from_slice(&response.body).ok()?;
    Some(Written { position: json["position"].as_u64()?, count: json["count"].as_u64()? })
}

/// The bytes of a write's answer.
#[must_use]
pub fn written_json(position: u64, count: u64) -> String {
    format!("{{\n  \"position\": {position},\n  \"count\": {count}\n}}\n")
}

/// The bytes of a log's answer.
#[must_use]
pub fn info_json(name: &str, records: u64, bytes: u64, start: u64, end: u64) -> String {
    format!(
        "{{\n  \"name\": \"{name}\",\n  \"status\": \"ok\",\n  \"record_count\": {records},\n  \
         \"file_size\": {bytes},\n  \"start_position\": {start},\n  \"end_position\": {end}\n}}\n"
    )
}

/// Encodes length-prefixed records.
///
/// # Panics
/// When one is longer than 2 GiB.
#[must_use]
pub fn binary(records: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let record = record.as_ref();
        let size = i32::try_from(record.len()).expect("a record below 2 GiB");
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(record);
    }
    bytes
}

/// Decodes length-prefixed records.
///
/// # Panics
/// When the bytes end inside a record.
#[must_use]
pub fn unbinary(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((size, rest)) = bytes.split_first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!(size <= rest.len(), "a record of {size} bytes is cut at {}", rest.len());
        records.push(rest[..size].to_vec());
        bytes = &rest[size..];
    }
    assert!(bytes.is_empty(), "{} bytes after the last record", bytes.len());
    records
}

/// The write of one record.
#[must_use]
pub fn write_one(log: &str, payload: impl Into<Vec<u8>>) -> Request {
    Request::post(&format!("/logs/{log}/records")).typed(ONE, payload)
}

/// The write of several records.
#[must_use]
pub fn write_binary(log: &str, records: &[impl AsRef<[u8]>]) -> Request {
    Request::post(&format!("/logs/{log}/records")).typed(BINARY, binary(records))
}

/// The write of lines.
#[must_use]
pub fn write_lines(log: &str, lines: &str) -> Request {
    Request::post(&format!("/logs/{log}/records")).typed(LINES, lines)
}

/// A read of many records; `query` without its question mark.
#[must_use]
pub fn read_binary(log: &str, query: &str) -> Request {
    Request::get(&format!("/logs/{log}/records?{query}")).header("Accept", BINARY)
}

/// A read of lines; `query` without its question mark.
#[must_use]
pub fn read_lines(log: &str, query: &str) -> Request {
    Request::get(&format!("/logs/{log}/records?{query}")).header("Accept", LINES)
}

/// The current time in microseconds since the Unix epoch, the unit of the API.
///
/// # Panics
/// When the system's clock is before 1970.
#[must_use]
pub fn now_us() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
    u64::try_from(since.as_micros()).expect("it is before the year 500,000")
}

impl TestServer {
    /// Starts a server that has one empty log.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn with_log(log: &str) -> TestServer {
        let server = TestServer::start();
        server.create(log);
        server
    }

    /// Appends this many MiB, in records of 64 KiB.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn fill(&self, log: &str, mib: usize) {
        let request = write_binary(log, &vec![vec![b'x'; (1 << 16) - 8]; 16]);
        let mut connection = self.connect();
        for _ in 0..mib {
            let _ = connection.exchange(&request).expect("an answer").expect(200);
        }
    }

    /// The value of one sample in `/metrics`, by its name and labels.
    ///
    /// # Panics
    /// When the sample's value is not a number.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let metrics = self.ask(&Request::get("/metrics")).expect(200);
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map(|value| value.parse().expect("a number"))
    }

    /// The value of a counter or gauge of whole numbers.
    ///
    /// # Panics
    /// When there is no such sample.
    #[must_use]
    #[track_caller]
    pub fn count(&self, sample: &str) -> u64 {
        self.metric(sample).unwrap_or_else(|| panic!("no {sample}")) as u64
    }

    /// The number of open streams of a protocol.
    ///
    /// # Panics
    /// When the metrics cannot be read.
    #[must_use]
    #[track_caller]
    pub fn open_streams(&self, protocol: &str) -> u64 {
        self.metric(&format!("styx_streams{{protocol=\"{protocol}\"}}")).unwrap_or(0.0) as u64
    }

    /// Creates a log with the default configuration.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn create(&self, log: &str) {
        self.create_with(log, "");
    }

    /// Creates a log; `config` is as in `segment_max_count=10&log_max_count=30`.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn create_with(&self, log: &str, config: &str) {
        let _ = self.ask(&Request::post("/logs").form(&format!("name={log}&{config}"))).expect(200);
    }

    /// Appends one record and returns the position after it.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn append(&self, log: &str, payload: impl Into<Vec<u8>>) -> u64 {
        let answer = self.ask(&write_one(log, payload)).expect(200);
        answer.json()["position"].as_u64().expect("a position")
    }

    /// Appends several records in one request and returns the position after them.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn append_all(&self, log: &str, records: &[impl AsRef<[u8]>]) -> u64 {
        let answer = self.ask(&write_binary(log, records)).expect(200);
        answer.json()["position"].as_u64().expect("a position")
    }

    /// Reads all records from a position on.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn read_from(&self, log: &str, position: u64) -> Vec<Vec<u8>> {
        let request = read_binary(log, &format!("position={position}"));
        unbinary(&self.ask(&request).expect(200).body)
    }

    /// Reads all records.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn read_all(&self, log: &str) -> Vec<Vec<u8>> {
        unbinary(&self.ask(&read_binary(log, "whence=start")).expect(200).body)
    }

    /// The server's information about a log.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn info(&self, log: &str) -> Value {
        self.ask(&Request::get(&format!("/logs/{log}"))).expect(200).json()
    }

    /// The log's id.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn log_id(&self, log: &str) -> String {
        let answer = self.ask(&Request::get(&format!("/logs/{log}"))).expect(200);
        answer.header("X-Styx-Log-Id").expect("every answer about a log has its id").to_owned()
    }

    /// A `tar.gz` of the log.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn backup(&self, log: &str) -> Vec<u8> {
        self.ask(&Request::get(&format!("/logs/{log}/backup"))).expect(200).body
    }

    /// Restores a log from an archive.
    #[must_use]
    #[track_caller]
    pub fn restore(&self, log: &str, archive: impl Into<Vec<u8>>) -> Response {
        let target = format!("/logs/restore?name={log}");
        self.ask(&Request::post(&target).typed("application/gzip", archive))
    }

    /// Opens a read and returns the connection after the head of the response.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn open_read(&self, request: &Request) -> Connection {
        let mut connection = self.connect();
        connection.send(&request.bytes()).expect("the request can be sent");
        let head = connection.head(request.method()).expect("there is an answer");
        assert_eq!(head.status, 200, "{head:?}");
        connection
    }
}
