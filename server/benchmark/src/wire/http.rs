//! Batches over HTTP/1.1: bodies of binary-records in requests and responses.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::connection::Endpoint;
use super::io_error;
use super::message;
use super::receive_buffer::{ReceiveBuffer, StopReason};
use super::record_sink::RecordSink;
use super::response::{self, HeadHint};
use crate::Error;

const BINARY_RECORDS: &str = "application/vnd.styx.binary-records";

/// A connection that posts one body after the other.
#[derive(Debug)]
pub(crate) struct Poster {
    endpoint: Endpoint,
    request: String,
    stream: TcpStream,
    buffer: ReceiveBuffer,
    hint: HeadHint,
}

impl Poster {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn new(endpoint: &Endpoint, log: &str) -> Result<Poster, Error> {
        Ok(Poster {
            endpoint: endpoint.clone(),
            request: format!("POST /logs/{log}/records"),
            stream: endpoint.connect()?,
            buffer: ReceiveBuffer::new(&[]),
            hint: HeadHint::default(),
        })
    }

    /// Posts records and waits until they are durable.
    ///
    /// # Errors
    /// The server refuses or the connection fails. The records may be durable or not.
    pub(crate) fn post(&mut self, records: &[u8]) -> Result<(), Error> {
        self.post_as(BINARY_RECORDS, records)
    }

    /// Posts one record and waits until it is durable.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub(crate) fn post_one(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.post_as("application/octet-stream", payload)
    }

    fn post_as(&mut self, content_type: &str, body: &[u8]) -> Result<(), Error> {
        let body_headers =
            format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        let head = self.endpoint.head(&self.request, &body_headers);
        let failed = |error| io_error("posting", &error);
        if body.len() < 4096 {
            let whole = [head.as_bytes(), body].concat();
            self.stream.write_all(&whole).map_err(failed)?;
        } else {
            self.stream.write_all(head.as_bytes()).map_err(failed)?;
            self.stream.write_all(body).map_err(failed)?;
        }
        loop {
            let bytes = self.buffer.bytes();
            if let Some(response) = response::parse(bytes, &mut self.hint).map_err(Error::Failed)? {
                let used = response.bytes;
                expect_ok(response.status, response.body)?;
                self.buffer.consume(used);
                return Ok(());
            }
            if self.buffer.read(&mut self.stream).map_err(failed)? == 0 {
                return Err(Error::Failed("the server closed the connection".to_owned()));
            }
        }
    }
}

/// Checks that a response has status 200.
///
/// # Errors
/// It has another status. The error contains its body.
pub(crate) fn expect_ok(status: u16, body: &[u8]) -> Result<(), Error> {
    match status {
        200 => Ok(()),
        _ => Err(Error::Failed(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(body).trim()
        ))),
    }
}

/// Reads a log from its start to its end in one response.
///
/// # Errors
/// The server refuses, or the response is incomplete.
pub(crate) fn consume(
    endpoint: &Endpoint,
    log: &str,
    sink: &mut impl RecordSink,
) -> Result<(), Error> {
    let request = format!("GET /logs/{log}/records?whence=start");
    let head =
        endpoint.head(&request, &format!("Accept: {BINARY_RECORDS}\r\nConnection: close\r\n"));
    let failed = |error| io_error("reading a batch", &error);
    let mut stream = endpoint.connect()?;
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut raw = ReceiveBuffer::new(&[]);
    let is_chunked = head_of(&mut stream, &mut raw)?;
    let (mut body, mut chunks) = (ReceiveBuffer::new(&[]), Chunks { left: 0, is_first: true });
    loop {
        let is_over = match is_chunked {
            true => chunks.decode(&mut raw, &mut body)?,
            false => {
                body.push(raw.bytes());
                raw.consume(raw.bytes().len());
                false
            }
        };
        let mut records = body.records(message::binary_record);
        let wants_more = sink.accept(&mut records)?;
        let (used, stop) = records.end();
        body.consume(used);
        if stop != StopReason::Incomplete {
            return Err(Error::Failed("the response is not valid binary-records".to_owned()));
        }
        if !wants_more || is_over {
            return Ok(());
        }
        let received = raw.read(&mut stream).map_err(failed)?;
        match (received, is_chunked || !body.bytes().is_empty()) {
            (0, true) => return Err(Error::Failed("the response is incomplete".to_owned())),
            (0, false) => return Ok(()),
            _ => {}
        }
    }
}

/// Removes the head of a response from `raw`. Returns whether the body is chunked.
fn head_of(stream: &mut impl Read, raw: &mut ReceiveBuffer) -> Result<bool, Error> {
    loop {
        let bytes = raw.bytes();
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let (head, body) = bytes.split_at(end + 4);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            expect_ok(status.unwrap_or(0), body)?;
            raw.consume(end + 4);
            return Ok(head.contains("transfer-encoding: chunked"));
        }
        let received =
            raw.read(stream).map_err(|error| io_error("waiting for a response", &error))?;
        if received == 0 {
            return Err(Error::Failed("the server closed the connection".to_owned()));
        }
    }
}

/// Decodes a chunked body.
struct Chunks {
    /// The bytes of the current chunk that have not been received.
    left: usize,
    /// Whether the next size is the first one, which has no line ending of a previous
    /// chunk in front of it.
    is_first: bool,
}

impl Chunks {
    /// Moves decoded bytes from `raw` to `body`. Returns whether the body is complete.
    fn decode(&mut self, raw: &mut ReceiveBuffer, body: &mut ReceiveBuffer) -> Result<bool, Error> {
        loop {
            let bytes = raw.bytes();
            if self.left > 0 {
                let here = bytes.get(..self.left.min(bytes.len())).unwrap_or_default();
                if here.is_empty() {
                    return Ok(false);
                }
                body.push(here);
                let moved = here.len();
                self.left -= moved;
                raw.consume(moved);
                continue;
            }
            let skip = if self.is_first { 0 } else { 2 };
            let line = bytes.get(skip..).unwrap_or_default();
            let Some(end) = line.windows(2).position(|window| window == b"\r\n") else {
                return Ok(false);
            };
            let text = std::str::from_utf8(line.get(..end).unwrap_or_default()).ok();
            let size = text.and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            let Some(size) = size else {
                return Err(Error::Failed("a chunk of the response has no size".to_owned()));
            };
            raw.consume(skip + end + 2);
            self.is_first = false;
            if size == 0 {
                return Ok(true);
            }
            self.left = size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_decoded_with_any_split() {
        let wire = b"4\r\nabcd\r\n1a\r\nefghijklmnopqrstuvwxyz0123\r\n0\r\n\r\n";
        for step in 1..wire.len() {
            let (mut raw, mut body) = (ReceiveBuffer::new(&[]), ReceiveBuffer::new(&[]));
            let mut chunks = Chunks { left: 0, is_first: true };
            let mut is_over = false;
            for piece in wire.chunks(step) {
                assert!(!is_over || piece.len() < 4, "over before its time");
                raw.push(piece);
                is_over = is_over || chunks.decode(&mut raw, &mut body).expect("chunks");
            }
            assert!(is_over);
            assert_eq!(body.bytes(), b"abcdefghijklmnopqrstuvwxyz0123");
        }
    }
}
