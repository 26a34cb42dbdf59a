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
//! records or when the server stops, and a failure aborts it, such as a token that is no longer
//! valid.
//!
//! If the peer closes its sending side, the server sends a comment at once and then one
//! every second without a record. A peer that has closed the whole connection answers
//! with a reset, and the socket drops the connection.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
use styx_protocol::{Checkpoint, LogId, Position, ReadParams, ReadType, Whence};

use super::Call;
use super::answer::{self, Answer, AnswerBody};
use super::read::put_positions;
use crate::app::App;
use crate::auth::{Action, Lease};
use crate::peer::HalfCloseWatch;
use crate::session::{Batch, Error, KnownLog, OpenLog, RecordReader, ResponseChunks};
use crate::{header, params};

const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
/// The same after a half-close: only a reset tells that such a peer is gone.
const HALF_CLOSED_KEEP_ALIVE_AFTER: Duration = Duration::from_secs(1);
/// Bytes read at a time; few, because there are many slow browsers.
const BATCH_BYTES_MAX: usize = 128 << 10;
/// Bytes of a large record that are encoded at a time: a multiple of three, for base64.
const LARGE_PIECE_BYTES: usize = 48 << 10;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Text,
    Base64,
}

pub(super) async fn read(call: &mut Call<'_>, log: &OpenLog) -> Result<Answer, Error> {
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
    call.opened_stream = Some("event-stream");
    let from = log.seek(&params).await?;
    let batch_bytes = call.app.config.log_manager.read_buffer_size.min(BATCH_BYTES_MAX);
    let follower = params.follow.then(|| call.follower("event-stream"));
    let events = Events {
        reader: log.read(from, batch_bytes)?.followed_by(follower),
        chunks: call.app.sessions.response_budget().chunks(),
        left: params.count.unwrap_or(u64::MAX),
        follow: params.follow,
        id_of,
        encoding,
        large: None,
        app: call.app.clone(),
        half_close: call.watch_half_close(),
        is_half_closed: false,
        lease: call.answer_lease(Action::Read),
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
    Ok(Some((KnownLog { id, end, position: end }, position)))
}

struct Events {
    reader: RecordReader,
    chunks: ResponseChunks,
    left: u64,
    follow: bool,
    /// The log, if ids of events name it.
    id_of: Option<LogId>,
    encoding: Encoding,
    /// The rest of a large record.
    large: Option<LargeEvent>,
    app: Arc<App>,
    half_close: HalfCloseWatch,
    /// Whether the peer has closed its sending side, and was sent a comment for it.
    is_half_closed: bool,
    lease: Lease,
}

impl Events {
    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(large) = &mut self.large {
                match large.next() {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => self.large = None,
                }
            }
            if self.left == 0 || self.app.shutdown.has_begun() {
                return Ok(None);
            }
            self.lease.check()?;
            let limited = self.reader.limited();
            let found = match limited {
                Some(_) => None,
                None => self.reader.next(&self.chunks).await?,
            };
            if let Some((batch, chunk)) = found {
                if batch.count() == 1 && batch.len_bytes() > BLOCK_RAW_BYTES_MAX {
                    self.left -= 1;
                    self.reader.charge(batch.len_bytes());
                    self.large = batch.records().next().map(|record| LargeEvent {
                        id: self.id_line(record.position + 1),
                        payload: chunk.keep(record.payload),
                        encoding: self.encoding,
                        place: Place::Start,
                    });
                    continue;
                }
                let (events, count) = self.events(&batch, chunk.bytes_max());
                self.reader.charge(events.len());
                self.left -= count;
                self.reader.go_back_to(batch.first() + count)?;
                return Ok(Some(chunk.keep(events)));
            }
            if !self.follow && limited.is_none() {
                return Ok(None);
            }
            let keep_alive_after =
                if self.is_half_closed { HALF_CLOSED_KEEP_ALIVE_AFTER } else { KEEP_ALIVE_AFTER };
            let more = tokio::select! {
                more = self.reader.wait(Some(keep_alive_after)), if limited.is_none() => more?,
                // It is shorter than the time after which the peer needs a sign of life.
                () = tokio::time::sleep(limited.unwrap_or_default()), if limited.is_some() => true,
                () = self.app.shutdown.begun() => return Ok(None),
                // Not a clean end, which would mean that nothing is missing.
                error = self.lease.ended() => return Err(error),
                () = self.half_close.closed(), if !self.is_half_closed => {
                    self.is_half_closed = true;
                    false
                }
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
            out.push_str(&self.id_line(record.position + 1));
            data(&mut out, &record.payload, self.encoding);
        }
        (out.into(), count)
    }

    /// The id of the event whose record is before `next`.
    fn id_line(&self, next: Position) -> String {
        match self.id_of {
            Some(log_id) => format!("id: {}\n", Checkpoint { log_id, next }),
            None => format!("id: {next}\n"),
        }
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

/// The event of a large record, which is encoded piece by piece.
struct LargeEvent {
    /// The line with the id.
    id: String,
    payload: Bytes,
    encoding: Encoding,
    place: Place,
}

/// Where the next piece of an event begins.
#[derive(Clone, Copy)]
enum Place {
    Start,
    /// At this byte of the payload.
    Payload(usize),
    End,
}

impl LargeEvent {
    /// The next bytes of the event; `None` at its end.
    fn next(&mut self) -> Option<Bytes> {
        let from = match self.place {
            Place::Start => {
                self.place = Place::Payload(0);
                return Some(format!("{}data: ", self.id).into());
            }
            Place::Payload(from) if from >= self.payload.len() => {
                self.place = Place::End;
                return Some(Bytes::from_static(b"\n\n"));
            }
            Place::Payload(from) => from,
            Place::End => return None,
        };
        let end = self.piece_end(from);
        self.place = Place::Payload(end);
        let piece = self.payload.get(from..end).unwrap_or_default();
        Some(match self.encoding {
            Encoding::Base64 => STANDARD.encode(piece).into(),
            Encoding::Text => {
                let text = String::from_utf8_lossy(piece).replace("\r\n", "\n");
                text.replace(['\n', '\r'], "\ndata: ").into()
            }
        })
    }

    /// Where the piece from this byte on ends: not in a group of base64, not in a character,
    /// and not in a line ending.
    fn piece_end(&self, from: usize) -> usize {
        let byte = |at: usize| self.payload.get(at).copied();
        let mut end = from + LARGE_PIECE_BYTES;
        if end >= self.payload.len() || self.encoding == Encoding::Base64 {
            return end.min(self.payload.len());
        }
        if byte(end - 1) == Some(b'\r') && byte(end) == Some(b'\n') {
            return end + 1;
        }
        // A character has at most three bytes after its first.
        let is_inside = |at: usize| byte(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        for back in 0..3 {
            if is_inside(end - back) && !is_inside(end - back - 1) {
                end -= back + 1;
                break;
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A large event is the same as the event of a record that is encoded at once.
    fn check_large(payload: Vec<u8>) {
        for encoding in [Encoding::Text, Encoding::Base64] {
            let mut expected = String::from("id: 8\n");
            data(&mut expected, &payload, encoding);
            let payload = Bytes::from(payload.clone());
            let mut large =
                LargeEvent { id: "id: 8\n".to_owned(), payload, encoding, place: Place::Start };
            let pieces: Vec<Bytes> = std::iter::from_fn(|| large.next()).collect();
            assert!(pieces.concat() == expected.as_bytes(), "{encoding:?}");
            assert!(pieces.iter().all(|piece| piece.len() < 8 * LARGE_PIECE_BYTES));
        }
    }

    #[test]
    fn large_event_in_pieces_is_the_same_as_in_one() {
        let texts = ["", "a", "\r\n", "\n\r\r\n", "\u{f6}", "\u{20ac}\r\n", "\u{1f600}a"];
        for text in texts {
            for before in 0..4 {
                let bytes = [&b"xxx"[..before], text.repeat(LARGE_PIECE_BYTES).as_bytes()].concat();
                check_large(bytes);
            }
        }
        let invalid: &[&[u8]] = &[b"\x80", b"\xff", b"\xf0\x9f\x98", b"\xe2\x82", b"\x80\xc3\xb6"];
        for bytes in invalid {
            check_large(bytes.repeat(LARGE_PIECE_BYTES));
        }
    }

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
