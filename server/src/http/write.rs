//! `POST /logs/{name}/records`: appends a body of records.
//!
//! ```text
//! body → decompress → records of the media type → AppendStream → durable → 200
//! ```
//!
//! Memory is bounded for any body size: it is reserved before bytes are kept, and a full
//! block waits until the block before it is durable. A large record is in memory once, in
//! pieces. An error says how much of the request was appended.
//! [`line_stream`](super::line_stream) appends lines whose end is not known while they arrive.

use std::pin::pin;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::IgnoredAny;
use styx_protocol::{Code, WriteType, binary_records, lines};

use super::Call;
use super::answer::{self, Answer};
use super::body::RequestBody;
use super::line_stream::{Failure, shutting_down};
use crate::app::App;
use crate::auth::Action;
use crate::header;
use crate::limits::LOOK_AFTER;
use crate::session::{
    AppendStream, Condition, Error, OpenLog, PAYLOAD_PIECE_BYTES, PayloadBuilder, Reservation,
    Written,
};
use crate::shutdown::Shutdown;

/// How often a large line of JSON is in memory: twice in a buffer that doubles, and once in a
/// block.
const JSON_COPIES: usize = 3;

/// The answer to a write.
#[derive(Debug, Serialize)]
struct WriteSummary {
    position: u64,
    count: u64,
}

/// Adds `position` and `count` 0 to the refusal of a request, because nothing of it was
/// appended. Only errors about the caller's known log get them.
pub(super) fn nothing_appended(error: Error) -> Error {
    match error.code {
        Code::LogChanged | Code::LogEndRegressed => error.with("position", 0).with("count", 0),
        _ => error,
    }
}

pub(super) async fn write(call: &mut Call<'_>, log: OpenLog) -> Result<Answer, Error> {
    log.check_writable()?;
    let headers = call.headers();
    let media_type = WriteType::parse(header::text(headers, &CONTENT_TYPE))?;
    let condition = header::condition(headers)?;
    let mut body = call.take_body()?.with_lease(call.lease(Action::Append));
    let payload_bytes_max = log.config().payload_bytes_max();
    let is_line_stream = condition == Condition::default() && !body.has_known_length();
    let length = body.announced_bytes();
    let mut request = WriteRequest {
        stream: log.append(condition),
        reservation: call.app.sessions.request_budget().reservation(),
        payload_bytes_max,
    };
    request.stream.prepay(length);
    let result = match media_type {
        WriteType::Single => request.one_record(&mut body).await.map_err(Failure::Refused),
        WriteType::BinaryRecords => {
            let decoder = binary_records::BinaryRecordsDecoder::new(payload_bytes_max);
            let decoder = RecordsDecoder::Binary(decoder);
            request
                .many_records(&mut body, decoder, &call.app.shutdown)
                .await
                .map_err(Failure::Refused)
        }
        WriteType::Lines(ending) => {
            let decoder = lines::LinesDecoder::new(ending, payload_bytes_max);
            let decoder = RecordsDecoder::Lines(decoder);
            request.many_lines(&mut body, decoder, is_line_stream, call.app).await
        }
        WriteType::Ndjson => {
            let decoder =
                lines::LinesDecoder::new(styx_protocol::LineEnding::Lf, payload_bytes_max);
            let decoder = RecordsDecoder::Json(JsonLines(decoder));
            request.many_lines(&mut body, decoder, is_line_stream, call.app).await
        }
    };
    let (error, written) = match result {
        Ok(written) => {
            let summary = WriteSummary { position: written.position.0, count: written.count };
            return Ok(answer::json(&summary));
        }
        Err(Failure::Refused(error)) => (error, request.stream.abandon().await),
        Err(Failure::Interrupted(error)) => request.append_complete_lines(error).await,
    };
    Err(error.with("position", written.position.0).with("count", written.count))
}

/// Appends one request's records.
pub(super) struct WriteRequest {
    pub(super) stream: AppendStream,
    pub(super) reservation: Reservation,
    payload_bytes_max: usize,
}

impl WriteRequest {
    /// The whole body is one record; an empty body is no record.
    async fn one_record(&mut self, body: &mut RequestBody) -> Result<Written, Error> {
        if let Some(bytes) = body.exact_bytes() {
            self.check_size(bytes)?;
            self.reservation.check_record(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        }
        let Some(first) = body.next().await? else { return Ok(Written::default()) };
        self.check_size(first.len() as u64)?;
        self.reserve(first.len(), body).await?;
        let Some(second) = body.next().await? else {
            self.stream.push(&first).await?;
            return self.stream.finish().await;
        };
        let mut payload = PayloadBuilder::default();
        payload.push(&first);
        drop(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            let bytes = payload.len_bytes() + chunk.len();
            self.check_size(bytes as u64)?;
            self.reservation.check_record(bytes)?;
            self.reserve(bytes, body).await?;
            payload.push(&chunk);
            next = body.next().await?;
        }
        let payload = payload.take();
        match payload.pieces() {
            [small] => self.stream.push(small).await?,
            _ => self.stream.push_pieces(payload).await?,
        }
        self.stream.finish().await
    }

    /// The body contains lines. Boxed, so that other requests need no memory for it.
    async fn many_lines(
        &mut self,
        body: &mut RequestBody,
        decoder: RecordsDecoder,
        is_line_stream: bool,
        app: &App,
    ) -> Result<Written, Failure> {
        if is_line_stream {
            return Box::pin(self.line_stream(body, decoder, &app.shutdown)).await;
        }
        self.many_records(body, decoder, &app.shutdown).await.map_err(Failure::Refused)
    }

    /// The body contains many records, in one of the formats for that.
    async fn many_records(
        &mut self,
        body: &mut RequestBody,
        mut decoder: RecordsDecoder,
        shutdown: &Shutdown,
    ) -> Result<Written, Error> {
        let mut pushed = 0;
        let mut begun = PayloadBuilder::default();
        loop {
            if self.stream.is_limited() {
                let incomplete = decoder.memory_for(held(pushed - decoder.offset()));
                self.wait_for_limit(incomplete, body, shutdown).await?;
                body.restart_rate();
            }
            let Some(chunk) = body.next().await? else { break };
            // In memory are the incomplete record, to which a part of the chunk is copied,
            // the chunk, and the blocks that are not durable yet.
            let incomplete = held(pushed - decoder.offset());
            pushed += chunk.len() as u64;
            let record = decoder.memory_for(incomplete);
            self.reservation.check_record(record).map_err(|error| decoder.at_line(error))?;
            let blocks = self.stream.held_bytes();
            let kept = blocks.saturating_add(record).saturating_add(2 * chunk.len());
            self.reserve(kept, body).await?;
            decoder.push(chunk);
            while let Some(payload) = decoder.next()? {
                self.push(payload, &mut begun).await?;
            }
            if let Some(part) = decoder.take_part() {
                begun.push(&part);
            }
        }
        if let Some(payload) = decoder.finish()? {
            self.push(payload, &mut begun).await?;
        }
        self.stream.finish().await
    }

    /// Waits while a limit is reached, and keeps only the memory of the incomplete record and
    /// block.
    ///
    /// # Errors
    /// `too_many_requests` after `tcp_timeout`, or if others need the memory; the token is no
    /// longer valid; the server stops.
    pub(super) async fn wait_for_limit(
        &mut self,
        incomplete: usize,
        body: &RequestBody,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        self.stream.free().await?;
        self.reservation.shrink_to(incomplete.saturating_add(self.stream.held_bytes()));
        let mut allowed = pin!(self.stream.allowed());
        let mut lease_ended = pin!(body.lease_ended());
        loop {
            tokio::select! {
                allowed = &mut allowed => return allowed,
                error = &mut lease_ended => return Err(error),
                () = shutdown.begun() => return Err(shutting_down()),
                () = tokio::time::sleep(LOOK_AFTER) => {}
            }
            if self.reservation.is_contended() {
                return Err(self.stream.limit_error());
            }
        }
    }

    /// Appends a record, of which `begun` has the first part.
    pub(super) async fn push(
        &mut self,
        rest: Bytes,
        begun: &mut PayloadBuilder,
    ) -> Result<(), Error> {
        if begun.is_empty() {
            return self.stream.push(&rest).await;
        }
        begun.push(&rest);
        drop(rest);
        self.stream.push_pieces(begun.take()).await
    }

    /// Reserves memory for the kept part of the body.
    ///
    /// # Errors
    /// `overloaded` if memory is short for too long, or if it is short and the body
    /// arrives too slowly.
    pub(super) async fn reserve(&mut self, bytes: usize, body: &RequestBody) -> Result<(), Error> {
        body.check_rate(&self.reservation)?;
        self.reservation.grow_to(bytes).await
    }

    fn check_size(&self, payload_bytes: u64) -> Result<(), Error> {
        if payload_bytes <= self.payload_bytes_max as u64 {
            return Ok(());
        }
        let message = format!(
            "the record has {} bytes (an 8-byte header and its payload of at most {}), \
             more than max_record_size, {}",
            payload_bytes + 8,
            self.payload_bytes_max,
            self.payload_bytes_max + 8
        );
        Err(Error::new(Code::RecordTooLarge, message))
    }
}

/// The formats of a body with many records.
pub(super) enum RecordsDecoder {
    Binary(binary_records::BinaryRecordsDecoder),
    Lines(lines::LinesDecoder),
    Json(JsonLines),
}

/// Lines that are checked to be JSON.
pub(super) struct JsonLines(lines::LinesDecoder);

impl RecordsDecoder {
    /// The memory for `bytes` of an incomplete record. Lines of JSON are checked as a whole, so
    /// they are in a buffer that doubles, and then in a block.
    pub(super) fn memory_for(&self, bytes: usize) -> usize {
        match self {
            RecordsDecoder::Binary(_) | RecordsDecoder::Lines(_) => bytes,
            RecordsDecoder::Json(_) if bytes <= PAYLOAD_PIECE_BYTES => bytes,
            RecordsDecoder::Json(_) => bytes.saturating_mul(JSON_COPIES),
        }
    }

    /// The part of a large incomplete record that has arrived, if the rest can follow it in
    /// another piece.
    pub(super) fn take_part(&mut self) -> Option<Bytes> {
        match self {
            RecordsDecoder::Binary(decoder) => decoder.take_part(PAYLOAD_PIECE_BYTES),
            RecordsDecoder::Lines(decoder) => decoder.take_part(PAYLOAD_PIECE_BYTES),
            RecordsDecoder::Json(_) => None,
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        match self {
            RecordsDecoder::Binary(decoder) => decoder.push(chunk),
            RecordsDecoder::Lines(decoder) => decoder.push(chunk),
            RecordsDecoder::Json(lines) => lines.0.push(chunk),
        }
    }

    pub(super) fn offset(&self) -> u64 {
        match self {
            RecordsDecoder::Binary(decoder) => decoder.offset(),
            RecordsDecoder::Lines(decoder) => decoder.offset(),
            RecordsDecoder::Json(lines) => lines.0.offset(),
        }
    }

    /// The error, which is about the incomplete record, with the place of its line.
    pub(super) fn at_line(&self, error: Error) -> Error {
        let decoder = match self {
            RecordsDecoder::Binary(_) => return error,
            RecordsDecoder::Lines(decoder) | RecordsDecoder::Json(JsonLines(decoder)) => decoder,
        };
        let (line, offset) = (decoder.line(), decoder.offset());
        let message = format!("line {line}, at byte {offset}: {}", error.message);
        Error { message, ..error }
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            RecordsDecoder::Binary(decoder) => decoder.next_payload().map_err(of_binary),
            RecordsDecoder::Lines(decoder) => decoder.next_payload().map_err(of_line),
            RecordsDecoder::Json(lines) => lines.next(),
        }
    }

    /// Call it after the last chunk: returns the last record.
    ///
    /// # Errors
    /// It is incomplete.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            RecordsDecoder::Binary(decoder) => decoder.finish().map_err(of_binary),
            RecordsDecoder::Lines(decoder) => decoder.finish().map_err(of_line),
            RecordsDecoder::Json(lines) => lines.finish(),
        }
    }
}

impl JsonLines {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let place = (self.0.line(), self.0.offset());
        checked_json(self.0.next_payload().map_err(of_line)?, place)
    }

    fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        let place = (self.0.line(), self.0.offset());
        checked_json(self.0.finish().map_err(of_line)?, place)
    }
}

/// The record of a line, which has this number and begins at this byte of the body.
fn checked_json(line: Option<Bytes>, (number, offset): (u64, u64)) -> Result<Option<Bytes>, Error> {
    let Some(mut line) = line else { return Ok(None) };
    // Lines may end with CRLF; the CR is not part of the record.
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    let malformed = |why: &dyn std::fmt::Display| {
        let message = format!("line {number}, at byte {offset}, is not JSON: {why}");
        Error::new(Code::MalformedRecords, message)
    };
    if line.is_empty() {
        return Err(malformed(&"it is empty"));
    }
    let text = std::str::from_utf8(&line).map_err(|error| malformed(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed(&error))?;
    Ok(Some(line))
}

pub(super) fn held(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn of_binary(error: binary_records::Error) -> Error {
    let code = match error {
        binary_records::Error::TooLarge { .. } => Code::RecordTooLarge,
        _ => Code::MalformedRecords,
    };
    Error::new(code, error.to_string())
}

fn of_line(error: lines::Error) -> Error {
    Error::new(Code::RecordTooLarge, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_with_crlf_lose_their_carriage_return() {
        let mut decoder = RecordsDecoder::Json(JsonLines(lines::LinesDecoder::new(
            styx_protocol::LineEnding::Lf,
            1000,
        )));
        decoder.push(Bytes::from_static(b"{}\r\n1\n2\r"));
        assert_eq!(decoder.next().expect("JSON"), Some(Bytes::from_static(b"{}")));
        assert_eq!(decoder.next().expect("JSON"), Some(Bytes::from_static(b"1")));
        assert_eq!(decoder.next().expect("incomplete"), None);
        assert_eq!(decoder.finish().expect("JSON"), Some(Bytes::from_static(b"2")));
    }

    #[test]
    fn error_names_the_line_that_is_too_long() {
        let lines = || lines::LinesDecoder::new(styx_protocol::LineEnding::Lf, 4);
        for mut decoder in
            [RecordsDecoder::Lines(lines()), RecordsDecoder::Json(JsonLines(lines()))]
        {
            decoder.push(Bytes::from_static(b"1234\n\"x\"\n12345"));
            assert!(decoder.next().expect("it fits").is_some());
            assert!(decoder.next().expect("it fits").is_some());
            let error = decoder.next().expect_err("it is too long");
            assert_eq!(error.code, Code::RecordTooLarge);
            assert!(
                error.message.starts_with("line 3, at byte 9, is longer than the 4 "),
                "{error}"
            );
        }
    }

    #[test]
    fn error_names_the_line_that_is_not_json() {
        let decode = |text: &'static [u8]| {
            let mut decoder = RecordsDecoder::Json(JsonLines(lines::LinesDecoder::new(
                styx_protocol::LineEnding::Lf,
                1000,
            )));
            decoder.push(Bytes::from_static(text));
            while decoder.next()?.is_some() {}
            decoder.finish().map(|_| ())
        };
        assert!(decode(b"{\"a\":[1,2]}\n3\n\"x\"\r\nnull").is_ok());
        for text in
            [&b"{}\n{,}\n"[..], b"{}\n\n", b"{}\n\r\n", b"{}\n\"\xff\"\n", b"{}\n{} {}", b"{}\n{"]
        {
            let error = decode(text).expect_err("not JSON");
            assert_eq!(error.code, Code::MalformedRecords);
            assert!(error.message.starts_with("line 2, at byte 3, is not JSON"), "{error}");
        }
    }
}
