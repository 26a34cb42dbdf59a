//! Server-sent events: a log as a browser's `EventSource` reads it.
//!
//! ```text
//! id: 8                the next position, which a browser sends back; with
//!                      ?event_ids=checkpoint the log's id and the position
//! data: the record     one for each line, or base64 with ?encoding=base64
//! (empty line)
//! : keep-alive         when there was no record for a while
//! ```
//!
//! The stream follows the log, except with `follow=false`. It ends after `count`
//! records or when the server stops, and a failure aborts it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use styx_protocol::{Checkpoint, LogId, Position, ReadParams, ReadType, Whence};

use super::Call;
use super::answer::{self, Answer, AnswerBody};
use super::read::put_positions;
use crate::app::App;
use crate::session::{Batch, Error, KnownLog, OpenLog, RecordReader, ResponseChunks};
use crate::{header, params};

const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
/// Bytes read at a time; few, because there are many slow browsers.
const BATCH_BYTES_MAX: usize = 128 << 10;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Text,
    Base64,
}

pub(super) async fn read(call: &Call<'_>, log: &OpenLog) -> Result<Answer, Error> {
    let query = call.query();
    let mut params = ReadParams::parse(params::pairs(query))?;
    params.follow = params::flag(query, "follow")?.unwrap_or(true);
    if let Some((known, position)) = last_event(call)? {
        log.check(&known)?;
        params.position = position;
        params.whence = Whence::Origin;
    }
    let id_of = match params::value(query, "event_ids").as_deref() {
        None | Some("position") => None,
        Some("checkpoint") => Some(log.id()),
        Some(other) => {
            return Err(Error::invalid("event_ids", other, "position or checkpoint"));
        }
    };
    let encoding = match params::value(query, "encoding").as_deref() {
        None | Some("text") => Encoding::Text,
        Some("base64") => Encoding::Base64,
        Some(other) => return Err(Error::invalid("encoding", other, "text or base64")),
    };
    let from = log.seek(&params).await?;
    let batch_bytes = call.app.config.log_manager.read_buffer_size.min(BATCH_BYTES_MAX);
    let events = Events {
        reader: log.read(from, batch_bytes)?,
        chunks: call.app.sessions.response_budget().chunks(),
        left: params.count.unwrap_or(u64::MAX),
        follow: params.follow,
        id_of,
        encoding,
        app: call.app.clone(),
    };
    let body = stream::try_unfold(events, |mut events| async move {
        Ok(events.next().await?.map(|bytes| (bytes, events)))
    });
    let mut answer = Response::new(AnswerBody::stream(body));
    let headers = answer.headers_mut();
    let content_type = HeaderValue::from_static(ReadType::EventStream.content_type());
    headers.insert(CONTENT_TYPE, content_type);
    answer::forbid_buffering(&mut answer);
    put_positions(&mut answer, log, None);
    Ok(answer)
}

/// The log and the position after the last event that the browser has, from
/// `Last-Event-ID`. A position alone may be negative: then it is out of range.
fn last_event(call: &Call<'_>) -> Result<Option<(KnownLog, i64)>, Error> {
    const ACCEPTED: &str = "the id of an earlier event";
    let text = header::checked_text(call.headers(), &LAST_EVENT_ID, "Last-Event-ID", ACCEPTED)?;
    let Some(text) = text else { return Ok(None) };
    let invalid = || Error::invalid("Last-Event-ID", text, ACCEPTED);
    let (id, position) = match text.parse::<Checkpoint>() {
        Ok(Checkpoint { log_id, next }) => {
            (Some(log_id), i64::try_from(next.0).map_err(|_| invalid())?)
        }
        Err(_) => (None, text.parse().map_err(|_| invalid())?),
    };
    let end = u64::try_from(position).ok().map(Position);
    Ok(Some((KnownLog { id, end }, position)))
}

struct Events {
    reader: RecordReader,
    chunks: ResponseChunks,
    left: u64,
    follow: bool,
    /// The log, if ids of events name it.
    id_of: Option<LogId>,
    encoding: Encoding,
    app: Arc<App>,
}

impl Events {
    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.left == 0 || self.app.shutdown.has_begun() {
                return Ok(None);
            }
            if let Some((batch, chunk)) = self.reader.next(&self.chunks).await? {
                let (events, count) = self.events(&batch, chunk.bytes_max());
                self.left -= count;
                self.reader.go_back_to(batch.first() + count)?;
                return Ok(Some(chunk.keep(events)));
            }
            if !self.follow {
                return Ok(None);
            }
            let more = tokio::select! {
                more = self.reader.wait(Some(KEEP_ALIVE_AFTER)) => more?,
                () = self.app.shutdown.begun() => return Ok(None),
            };
            if !more {
                return Ok(Some(Bytes::from_static(b": keep-alive\n\n")));
            }
        }
    }

    /// Events for records of the batch, and their number. Adds no more once there are
    /// `bytes_max` bytes.
    fn events(&self, batch: &Batch, bytes_max: usize) -> (Bytes, u64) {
        let mut out = String::with_capacity(batch.len_bytes().min(bytes_max));
        let mut count = 0;
        for record in batch.records() {
            if count == self.left || out.len() >= bytes_max {
                break;
            }
            count += 1;
            let next = record.position + 1;
            match self.id_of {
                // Writing to a String cannot fail.
                Some(log_id) => _ = writeln!(out, "id: {}", Checkpoint { log_id, next }),
                None => _ = writeln!(out, "id: {next}"),
            }
            data(&mut out, &record.payload, self.encoding);
        }
        (out.into(), count)
    }
}

/// The data of an event, and the empty line at its end.
fn data(out: &mut String, payload: &[u8], encoding: Encoding) {
    match encoding {
        Encoding::Base64 => {
            out.push_str("data: ");
            STANDARD.encode_string(payload, out);
            out.push('\n');
        }
        Encoding::Text => {
            // A browser ends a line at \r, \n and \r\n and joins them with \n.
            let text = String::from_utf8_lossy(payload).replace("\r\n", "\n");
            for line in text.split(['\n', '\r']) {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "data: {line}");
            }
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], encoding: Encoding, expected: &str) {
        let mut out = String::new();
        data(&mut out, payload, encoding);
        assert_eq!(out, expected);
    }

    #[test]
    fn event_has_one_data_line_for_each_line() {
        check(b"one", Encoding::Text, "data: one\n\n");
        check(b"", Encoding::Text, "data: \n\n");
        check(b"a\nb\r\nc\rd\n", Encoding::Text, {
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        });
        check(b"\0\xff\n", Encoding::Base64, "data: AP8K\n\n");
    }
}
