//! `GET /logs/{name}/records`: reads records.
//!
//! ```text
//! one record        the whole answer
//! many, finite      up to the log's end when the read began: whole if it fits one
//!                   batch, else streamed batch by batch
//! many, following   existing records, or the first new ones: always whole
//! events            has no end of its own; see `events`
//! ```
//!
//! The first batch is read before the answer begins, so an early failure is an error
//! and not an aborted answer. A later failure aborts the connection, so the client
//! cannot mistake it for the end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
use styx_protocol::{Code, Position, ReadParams, ReadType, binary_records, lines, record};

use super::answer::{self, Answer, AnswerBody};
use super::{Call, events};
use crate::auth::{Action, Lease};
use crate::limits::Direction;
use crate::session::{Batch, Error, OpenLog, RecordReader, ResponseChunks};
use crate::{header, params};

/// Largest batch that is read, encoded and sent at once.
const BATCH_BYTES_MAX: usize = 1 << 20;

pub(super) async fn read(call: &mut Call<'_>, log: OpenLog) -> Result<Answer, Error> {
    let headers = call.headers();
    match ReadType::parse(header::text(headers, &ACCEPT))? {
        ReadType::Single => one(call, &log).await,
        ReadType::EventStream => events::read(call, &log).await,
        many => {
            let params = ReadParams::parse(params::pairs(call.query()))?;
            if params.follow {
                let timeout = header::timeout(headers)?;
                follow(call, &log, params, many, timeout).await
            } else {
                finite(call, &log, params, many).await
            }
        }
    }
}

/// Exactly one record, or nothing at the end of the log.
async fn one(call: &Call<'_>, log: &OpenLog) -> Result<Answer, Error> {
    let params = ReadParams::parse_single(params::pairs(call.query()))?;
    let position = log.seek(&params).await?;
    let chunks = call.app.sessions.response_budget().chunks();
    let Some((record, chunk)) = log.record(position, &chunks).await? else {
        let mut answer = answer::empty();
        // 0.x sent no content type at the end of the log. A client without `Accept` still
        // gets exactly that answer.
        if call.headers().contains_key(ACCEPT) {
            let content_type = HeaderValue::from_static(ReadType::Single.content_type());
            answer.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        put_positions(&mut answer, log, Some(position));
        return Ok(answer);
    };
    log.meter().charge(Direction::Read, record.payload.len(), 0);
    let payload = match chunk {
        Some(chunk) => chunk.keep(record.payload),
        None => record.payload,
    };
    let mut answer = of_records(payload, ReadType::Single);
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    put_positions(&mut answer, log, Some(position + 1));
    Ok(answer)
}

/// Everything up to the log's current end, or the first `count` records of it.
async fn finite(
    call: &Call<'_>,
    log: &OpenLog,
    params: ReadParams,
    read_type: ReadType,
) -> Result<Answer, Error> {
    let end = log.end_position();
    let from = log.seek(&params).await?;
    // The log may have grown after `end` was read, so `from` may be after it.
    let left = end.since(from).min(params.count.unwrap_or(u64::MAX));
    let batch_bytes = call.app.config.log_manager.read_buffer_size.min(BATCH_BYTES_MAX);
    let (reader, chunks) =
        (log.read(from, batch_bytes)?, call.app.sessions.response_budget().chunks());
    let lease = call.answer_lease(Action::Read);
    let mut rest = FiniteRead { reader, left, read_type, chunks, ending: Bytes::new(), lease };
    let first = rest.next_chunk().await?.unwrap_or_default();
    let mut answer = if rest.left == 0 && rest.ending.is_empty() {
        of_records(first, read_type)
    } else {
        let rest = stream::try_unfold((Some(first), rest), |(first, mut rest)| async move {
            let chunk = match first {
                Some(first) => Some(first),
                None => rest.next_chunk().await?,
            };
            Ok(chunk.map(|chunk| (chunk, (None, rest))))
        });
        of_stream(AnswerBody::stream(rest), read_type)
    };
    put_positions_up_to(&mut answer, log, end, Some(from + left));
    Ok(answer)
}

/// The rest of a finite read.
struct FiniteRead {
    reader: RecordReader,
    left: u64,
    read_type: ReadType,
    chunks: ResponseChunks,
    /// The ending of a large line that was sent.
    ending: Bytes,
    lease: Lease,
}

impl FiniteRead {
    /// The next encoded records; `None` when nothing is left.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.ending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ending)));
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.lease.check()?;
        let Some((batch, chunk)) = self.reader.next(&self.chunks).await? else {
            let message =
                "the log now ends before the end that it had when this read began; read it again";
            return Err(Error::new(Code::LogEndRegressed, message));
        };
        if let Some((bytes, ending)) = large(&batch, self.read_type) {
            self.reader.charge(bytes.len());
            self.left -= 1;
            self.ending = ending;
            return Ok(Some(chunk.keep(bytes)));
        }
        let (bytes, count) = encode(&batch, self.read_type, self.left, chunk.bytes_max());
        self.left -= count;
        self.reader.charge(bytes.len());
        self.reader.go_back_to(batch.first() + count)?;
        Ok(Some(chunk.keep(bytes)))
    }
}

/// Existing records, or the first new ones within the timeout. A half-close of the peer
/// ends the wait like the timeout.
async fn follow(
    call: &mut Call<'_>,
    log: &OpenLog,
    params: ReadParams,
    read_type: ReadType,
    timeout: Option<Duration>,
) -> Result<Answer, Error> {
    let from = log.seek(&params).await?;
    let answer_bytes = call.app.config.log_manager.read_buffer_size;
    let reader = log.read(from, answer_bytes.min(BATCH_BYTES_MAX))?;
    let mut reader = reader.followed_by(Some(call.follower("http")));
    let chunks = call.app.sessions.response_budget().chunks();
    let count_max = params.count.unwrap_or(u64::MAX);
    let mut found = None;
    if count_max > 0 {
        let lease = call.lease(Action::Read);
        found = tokio::select! {
            // A limit may make it wait.
            found = reader.next(&chunks) => found?,
            error = lease.ended() => return Err(error),
        };
        if found.is_none() {
            call.shrink();
            let half_close = call.watch_half_close();
            let more = tokio::select! {
                more = reader.wait(timeout) => more?,
                () = call.app.shutdown.begun() => false,
                error = lease.ended() => return Err(error),
                // The peer may be gone, and its connection must not wait for a record.
                () = half_close.closed() => false,
            };
            if more {
                found = reader.next(&chunks).await?;
            }
        }
    }
    let (bytes, ending, count) = match found {
        Some((batch, chunk)) => match large(&batch, read_type) {
            Some((bytes, ending)) => (chunk.keep(bytes), ending, 1),
            None => {
                let bytes_max = answer_bytes.min(chunk.bytes_max());
                let (bytes, count) = encode(&batch, read_type, count_max, bytes_max);
                reader.go_back_to(batch.first() + count)?;
                (chunk.keep(bytes), Bytes::new(), count)
            }
        },
        None => (Bytes::new(), Bytes::new(), 0),
    };
    reader.charge(bytes.len());
    let mut answer = match ending.is_empty() {
        true => of_records(bytes, read_type),
        false => of_stream(AnswerBody::stream(stream::iter([Ok(bytes), Ok(ending)])), read_type),
    };
    answer::forbid_buffering(&mut answer);
    put_positions(&mut answer, log, Some(from + count));
    Ok(answer)
}

/// The bytes of a record that is larger than a block, and the ending of its line. They are
/// not copied. `None` for any other batch.
fn large(batch: &Batch, read_type: ReadType) -> Option<(Bytes, Bytes)> {
    if batch.count() != 1 || batch.len_bytes() <= BLOCK_RAW_BYTES_MAX {
        return None;
    }
    let (_, records) = batch.blocks().next()?;
    match read_type {
        ReadType::Lines(ending) => {
            Some((records.payloads().next()?, Bytes::from_static(ending.bytes())))
        }
        _ => Some((binary_records::items(records).next()?, Bytes::new())),
    }
}

/// Encodes at most `count_max` records of the batch, and no more once there are
/// `bytes_max` bytes. Returns them and their number.
fn encode(batch: &Batch, read_type: ReadType, count_max: u64, bytes_max: usize) -> (Bytes, u64) {
    let mut out = BytesMut::with_capacity(batch.len_bytes().min(bytes_max.saturating_add(1024)));
    let mut count = 0;
    for (_, records) in batch.blocks() {
        let (bytes, mut offset) = (records.bytes(), 0);
        while count < count_max && out.len() < bytes_max {
            // An error means the end of the records.
            let Ok((start, end)) = record::frame(bytes, offset) else { break };
            let payload = bytes.get(start..end).unwrap_or_default();
            match read_type {
                ReadType::Lines(ending) => lines::encode(payload, ending, &mut out),
                _ => binary_records::encode(payload, &mut out),
            }
            offset = end;
            count += 1;
        }
    }
    (out.freeze(), count)
}

fn of_records(bytes: Bytes, read_type: ReadType) -> Answer {
    of_stream(AnswerBody::Whole(bytes), read_type)
}

fn of_stream(body: AnswerBody, read_type: ReadType) -> Answer {
    let mut answer = Response::new(body);
    let content_type = HeaderValue::from_static(read_type.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// Adds the log's current start and end, and the position to continue at.
pub(super) fn put_positions(answer: &mut Answer, log: &OpenLog, next: Option<Position>) {
    put_positions_up_to(answer, log, log.end_position(), next);
}

fn put_positions_up_to(answer: &mut Answer, log: &OpenLog, end: Position, next: Option<Position>) {
    let headers = answer.headers_mut();
    header::put_range(headers, log.start_position(), end, log.archived_position());
    if let Some(next) = next {
        headers.insert(header::NEXT_POSITION, header::of_position(next));
    }
}
