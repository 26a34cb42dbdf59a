//! Batches over HTTP/1.1: bodies of binary-records, up and down.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::answer::{self, Hint};
use super::broken;
use super::connection::Route;
use super::inbox::{Inbox, Stop};
use super::message;
use super::visitor::Visitor;
use crate::failure::Failure;

const BINARY_RECORDS: &str = "application/vnd.styx.binary-records";

/// A connection that posts one body after the other.
#[derive(Debug)]
pub(in crate::benchmark) struct Poster {
    route: Route,
    request: String,
    stream: TcpStream,
    inbox: Inbox,
    hint: Hint,
}

impl Poster {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there.
    pub(in crate::benchmark) fn new(route: &Route, log: &str) -> Result<Poster, Failure> {
        Ok(Poster {
            route: route.clone(),
            request: format!("POST /logs/{log}/records"),
            stream: route.connect()?,
            inbox: Inbox::new(&[]),
            hint: Hint::default(),
        })
    }

    /// Posts records and waits until they are durable.
    ///
    /// # Errors
    /// They are not, as far as is known.
    pub(in crate::benchmark) fn post(&mut self, records: &[u8]) -> Result<(), Failure> {
        self.post_as(BINARY_RECORDS, records)
    }

    /// Posts a body of one record.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub(in crate::benchmark) fn post_one(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.post_as("application/octet-stream", payload)
    }

    fn post_as(&mut self, content_type: &str, body: &[u8]) -> Result<(), Failure> {
        let of_body = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        let head = self.route.head(&self.request, &of_body);
        let failed = |error| broken("posting", &error);
        if body.len() < 4096 {
            let whole = [head.as_bytes(), body].concat();
            self.stream.write_all(&whole).map_err(failed)?;
        } else {
            self.stream.write_all(head.as_bytes()).map_err(failed)?;
            self.stream.write_all(body).map_err(failed)?;
        }
        loop {
            let bytes = self.inbox.bytes();
            if let Some(answer) = answer::parse(bytes, &mut self.hint).map_err(Failure::Failed)? {
                let used = answer.bytes;
                accepted(answer.status, answer.body)?;
                self.inbox.take(used);
                return Ok(());
            }
            if self.inbox.read(&mut self.stream).map_err(failed)? == 0 {
                return Err(Failure::Failed("the server closed the connection".to_owned()));
            }
        }
    }
}

/// An answer that is not 200 ends the run, with what it says.
pub(in crate::benchmark) fn accepted(status: u16, body: &[u8]) -> Result<(), Failure> {
    match status {
        200 => Ok(()),
        _ => Err(Failure::Failed(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(body).trim()
        ))),
    }
}

/// Reads a log from its start to its end in one answer.
///
/// # Errors
/// The server refuses, or the answer breaks off.
pub(in crate::benchmark) fn consume(
    route: &Route,
    log: &str,
    visitor: &mut impl Visitor,
) -> Result<(), Failure> {
    let request = format!("GET /logs/{log}/records?whence=start");
    let head = route.head(&request, &format!("Accept: {BINARY_RECORDS}\r\nConnection: close\r\n"));
    let failed = |error| broken("reading a batch", &error);
    let mut stream = route.connect()?;
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut raw = Inbox::new(&[]);
    let is_chunked = head_of(&mut stream, &mut raw)?;
    let (mut body, mut chunks) = (Inbox::new(&[]), Chunks { left: 0, is_first: true });
    loop {
        let is_over = match is_chunked {
            true => chunks.decode(&mut raw, &mut body)?,
            false => {
                body.push(raw.bytes());
                raw.take(raw.bytes().len());
                false
            }
        };
        let mut records = body.records(message::binary_record);
        let wants_more = visitor.visit(&mut records)?;
        let (used, stop) = records.end();
        body.take(used);
        if stop != Stop::Incomplete {
            return Err(Failure::Failed("a batch that is none".to_owned()));
        }
        if !wants_more || is_over {
            return Ok(());
        }
        let came = raw.read(&mut stream).map_err(failed)?;
        match (came, is_chunked || !body.bytes().is_empty()) {
            (0, true) => return Err(Failure::Failed("an answer breaks off".to_owned())),
            (0, false) => return Ok(()),
            _ => {}
        }
    }
}

/// Takes the head of an answer; whether the body comes in chunks.
fn head_of(stream: &mut impl Read, raw: &mut Inbox) -> Result<bool, Failure> {
    loop {
        let bytes = raw.bytes();
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let (head, body) = bytes.split_at(end + 4);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            accepted(status.unwrap_or(0), body)?;
            raw.take(end + 4);
            return Ok(head.contains("transfer-encoding: chunked"));
        }
        let came = raw.read(stream).map_err(|error| broken("waiting for an answer", &error))?;
        if came == 0 {
            return Err(Failure::Failed("no answer".to_owned()));
        }
    }
}

/// Takes chunks apart.
struct Chunks {
    /// Bytes of the current chunk that are still to come.
    left: usize,
    /// Whether no line ending of a chunk before stands in front of the next size.
    is_first: bool,
}

impl Chunks {
    /// Moves what is there from `raw` to `body`; whether the last chunk is over.
    fn decode(&mut self, raw: &mut Inbox, body: &mut Inbox) -> Result<bool, Failure> {
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
                raw.take(moved);
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
                return Err(Failure::Failed("a chunk of an answer has no size".to_owned()));
            };
            raw.take(skip + end + 2);
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
    fn chunks_are_put_together_however_they_come() {
        let wire = b"4\r\nabcd\r\n1a\r\nefghijklmnopqrstuvwxyz0123\r\n0\r\n\r\n";
        for step in 1..wire.len() {
            let (mut raw, mut body) = (Inbox::new(&[]), Inbox::new(&[]));
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
