//! Server-sent events: a log as a browser's `EventSource` reads it.
//!
//! ```text
//! id: 8                the next position, which a browser sends back
//! data: the record     one for each line, or base64 with ?encoding=base64
//! (empty line)
//! : keep-alive         when there was no record for a while
//! ```
//!
//! The stream follows the log, except with `follow=false`. It ends after `count`
//! records or when the server stops, and a failure aborts it.
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
use styx_protocol::{ReadParams, ReadType, Whence};

use super::Call;
use super::answer::{self, Answer, AnswerBody};
use super::read::put_positions;
use crate::app::App;
use crate::peer::HalfCloseWatch;
use crate::session::{Batch, Error, OpenLog, RecordReader, ResponseChunks};
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

pub(super) async fn read(call: &Call<'_>, log: &OpenLog) -> Result<Answer, Error> {
    let query = call.query();
    let mut params = ReadParams::parse(params::pairs(query))?;
    params.follow = params::flag(query, "follow")?.unwrap_or(true);
    let accepted = "the id of an earlier event";
    let last = header::checked_text(call.headers(), &LAST_EVENT_ID, "Last-Event-ID", accepted)?;
    if let Some(id) = last {
        params.position = id.parse().map_err(|_| Error::invalid("Last-Event-ID", id, accepted))?;
        params.whence = Whence::Origin;
    }
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
        encoding,
        large: None,
        app: call.app.clone(),
        half_close: call.watch_half_close(),
        is_half_closed: false,
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

struct Events {
    reader: RecordReader,
    chunks: ResponseChunks,
    left: u64,
    follow: bool,
    encoding: Encoding,
    /// The rest of a large record.
    large: Option<LargeEvent>,
    app: Arc<App>,
    half_close: HalfCloseWatch,
    /// Whether the peer has closed its sending side, and was sent a comment for it.
    is_half_closed: bool,
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
            if let Some((batch, chunk)) = self.reader.next(&self.chunks).await? {
                if batch.count() == 1 && batch.len_bytes() > BLOCK_RAW_BYTES_MAX {
                    self.left -= 1;
                    self.large = batch.records().next().map(|record| LargeEvent {
                        next_position: (record.position + 1).0,
                        payload: chunk.keep(record.payload),
                        encoding: self.encoding,
                        place: Place::Start,
                    });
                    continue;
                }
                let (events, count) = self.events(&batch, chunk.bytes_max());
                self.left -= count;
                self.reader.go_back_to(batch.first() + count)?;
                return Ok(Some(chunk.keep(events)));
            }
            if !self.follow {
                return Ok(None);
            }
            let keep_alive_after =
                if self.is_half_closed { HALF_CLOSED_KEEP_ALIVE_AFTER } else { KEEP_ALIVE_AFTER };
            let more = tokio::select! {
                more = self.reader.wait(Some(keep_alive_after)) => more?,
                () = self.app.shutdown.begun() => return Ok(None),
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
            event(&mut out, (record.position + 1).0, &record.payload, self.encoding);
        }
        (out.into(), count)
    }
}

fn event(out: &mut String, next_position: u64, payload: &[u8], encoding: Encoding) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "id: {next_position}");
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
                let _ = writeln!(out, "data: {line}");
            }
        }
    }
    out.push('\n');
}

/// The event of a large record, which is encoded piece by piece.
struct LargeEvent {
    next_position: u64,
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
                return Some(format!("id: {}\ndata: ", self.next_position).into());
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
            let mut expected = String::new();
            event(&mut expected, 8, &payload, encoding);
            let payload = Bytes::from(payload.clone());
            let mut large = LargeEvent { next_position: 8, payload, encoding, place: Place::Start };
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
        event(&mut out, 8, payload, encoding);
        assert_eq!(out, expected);
    }

    #[test]
    fn event_has_an_id_and_one_data_line_for_each_line() {
        check(b"one", Encoding::Text, "id: 8\ndata: one\n\n");
        check(b"", Encoding::Text, "id: 8\ndata: \n\n");
        check(b"a\nb\r\nc\rd\n", Encoding::Text, {
            "id: 8\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        });
        check(b"\0\xff\n", Encoding::Base64, "id: 8\ndata: AP8K\n\n");
    }
}
