//! [`Reader`]: reads records with HTTP requests.
//!
//! A first request for no records finds the log's id, the first position and, unless the read
//! follows the log, the end. Every later request names the log and asks for the rest of that
//! range, so a read continues after a failure without a gap or a repetition.
//!
//! Invariant: `next` only grows, and only past records that were returned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use styx_protocol::binary_records::{self, BinaryRecordsDecoder};
use styx_protocol::limits::MAX_RECORD_SIZE_MAX;
use styx_protocol::media_type::BINARY_RECORDS;
use styx_protocol::{LogId, LogName, ReadParams, Whence, header};

use super::{required, too_late};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::consumer::DEADLINE;
use crate::error::{Error, Kind, check_restored_from};
use crate::logs::known_name;
use crate::process::ForgetInChild;
use crate::transport::{Request, RequestBody, StreamingResponse, Transport};

/// How long the server waits for a record before a long poll ends empty. Proxies end requests
/// that are silent for 30 s or longer.
const POLL: Duration = Duration::from_secs(20);
/// A long poll that ends empty before this time was not ended by its timeout.
const POLL_MIN: Duration = Duration::from_secs(1);

/// Reads records over HTTP. See the [module](super).
#[derive(Debug)]
pub struct Reader {
    client: Client,
    /// `None` after a call that failed or was dropped. It may have a response, and so a
    /// connection.
    read: Option<ForgetInChild<Read>>,
}

impl Reader {
    /// Begins a read. If the client retries calls, temporary failures are retried until its
    /// timeout.
    ///
    /// # Errors
    /// `log_not_found`, `log_not_available`, `out_of_range` and other errors of the server;
    /// `connection_failed`, `timed_out`.
    pub async fn open(client: &Client, log: &str, params: ReadParams) -> Result<Reader, Error> {
        let (log, transport) = (known_name(log)?, Arc::clone(client.transport()));
        let opening = async move { Read::open(transport, log, params).await };
        let read = client.runtime().run(opening).await?;
        let read = ForgetInChild::new(client.runtime().process(), read);
        Ok(Reader { client: client.clone(), read: Some(read) })
    }

    /// The payloads of the next records, at least one; `None` at the end. With `follow`, waits
    /// for new records.
    ///
    /// Without a connection it tries again, without a limit with `follow`, and otherwise for
    /// [`DEADLINE`].
    ///
    /// Not cancel safe: after a dropped future, calls fail with `closed`.
    ///
    /// # Errors
    /// As a consumer's: `log_changed`, `log_end_regressed`, `out_of_range`, `corrupt_record`,
    /// `timed_out` and others. After an error, calls fail with `closed`.
    pub async fn next_payloads(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        let runtime = self.client.runtime();
        runtime.process().check()?;
        let mut read = self.read.take().ok_or_else(|| Error::closed("reader"))?;
        let reading = async move { read.next().await.map(|next| (read, next)) };
        let (read, next) = runtime.run(reading).await?;
        self.read = Some(read);
        Ok(next)
    }
}

/// A read, on the client's threads.
#[derive(Debug)]
struct Read {
    transport: Arc<Transport>,
    log: LogName,
    log_id: LogId,
    follow: bool,
    /// The position of the next record to return.
    next: u64,
    /// The end of the range, exclusive; `u64::MAX` without an end.
    until: u64,
    /// The highest end of the log that the server has reported.
    known_end: u64,
    response: Option<Response>,
    backoff: Backoff,
    /// The first failure since the last records or the last complete long poll.
    failing_since: Option<Instant>,
}

/// A response that is being received.
#[derive(Debug)]
struct Response {
    http: StreamingResponse,
    decoder: BinaryRecordsDecoder,
    begun: Instant,
}

impl Read {
    async fn open(
        transport: Arc<Transport>,
        log: LogName,
        params: ReadParams,
    ) -> Result<Read, Error> {
        let ReadParams { whence, position, count, follow } = params;
        let request = records_request(&log, whence, position).query("count", 0);
        let answer = transport.fetch(&request, Bytes::new()).await?;
        let next: u64 = required(answer.header(header::NEXT_POSITION), header::NEXT_POSITION)?;
        let end: u64 = required(answer.header(header::END_POSITION), header::END_POSITION)?;
        let log_id = required(answer.header(header::LOG_ID), header::LOG_ID)?;
        let counted = count.map_or(u64::MAX, |count| next.saturating_add(count));
        // The log may have grown while the server found the position.
        let log_end = if follow { u64::MAX } else { end.max(next) };
        Ok(Read {
            transport,
            log,
            log_id,
            follow,
            next,
            until: counted.min(log_end),
            known_end: end,
            response: None,
            backoff: Backoff::random(),
            failing_since: None,
        })
    }

    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        while self.next < self.until {
            match self.receive().await {
                Ok(payloads) => {
                    self.failing_since = None;
                    if !payloads.is_empty() {
                        self.next += payloads.len() as u64;
                        self.backoff.reset();
                        return Ok(Some(payloads));
                    }
                }
                Err(error) => self.wait_after(error).await?,
            }
        }
        Ok(None)
    }

    /// Records of the response, or of a new one; none at the end of a long poll.
    async fn receive(&mut self) -> Result<Vec<Bytes>, Error> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.request().await?,
        };
        loop {
            let timeout = self.transport.options().silence_timeout;
            let chunk = tokio::time::timeout(timeout, response.http.chunk()).await;
            let Some(chunk) = chunk.map_err(|_| self.transport.silent())?? else {
                return self.end_of(response).await;
            };
            response.decoder.push(chunk);
            let mut payloads = Vec::new();
            while let Some(payload) = response.decoder.next_payload().map_err(|e| invalid(&e))? {
                payloads.push(payload);
            }
            if payloads.len() as u64 > self.until - self.next {
                return Err(Error::bad_answer("the server sent more records than requested"));
            }
            if !payloads.is_empty() {
                self.response = Some(response);
                return Ok(payloads);
            }
        }
    }

    /// Checks a response that has ended.
    async fn end_of(&mut self, mut response: Response) -> Result<Vec<Bytes>, Error> {
        // A proxy may end a response normally although the server's broke.
        let cut =
            || Error::new(Kind::ConnectionFailed, "the response ended before its last record");
        response.decoder.finish().map_err(|_| cut())?;
        if !self.follow {
            return Err(cut());
        }
        if response.begun.elapsed() < POLL_MIN {
            tokio::time::sleep(self.backoff.next(None)).await;
        }
        Ok(Vec::new())
    }

    /// Requests the rest of the range.
    async fn request(&mut self) -> Result<Response, Error> {
        let position = i64::try_from(self.next).unwrap_or(i64::MAX);
        let mut request = records_request(&self.log, Whence::Origin, position)
            .header(header::LOG_ID, self.log_id)
            .header(header::KNOWN_END, self.known_end);
        if self.until != u64::MAX {
            // A count over i64::MAX is the same as no limit.
            let count = i64::try_from(self.until - self.next).unwrap_or(-1);
            request = request.query("count", count);
        }
        let mut timeout = self.transport.options().call_timeout;
        if self.follow {
            request = request.query("follow", true).header(header::TIMEOUT, POLL.as_secs());
            timeout += POLL;
        }
        let begun = Instant::now();
        let sent = self.transport.send(&request, RequestBody::Empty);
        let Ok(sent) = tokio::time::timeout(timeout, sent).await else {
            let text = format!("{} did not respond within {timeout:?}", self.transport.address());
            return Err(Error::new(Kind::TimedOut, text));
        };
        let mut http = sent?;
        let headers = http.take_headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let log_id: LogId = required(text(header::LOG_ID), header::LOG_ID)?;
        let end = required(text(header::END_POSITION), header::END_POSITION)?;
        if log_id != self.log_id {
            // The server checks it itself, but a proxy may have removed the header.
            let fork = text(header::RESTORED_FROM).and_then(|text| text.parse().ok());
            let needed = if self.follow { self.next } else { self.until };
            check_restored_from(fork, self.log_id, needed)?;
            (self.log_id, self.known_end) = (log_id, end);
        }
        self.known_end = self.known_end.max(end);
        let payload_bytes_max = usize::try_from(MAX_RECORD_SIZE_MAX).unwrap_or(usize::MAX);
        Ok(Response { http, decoder: BinaryRecordsDecoder::new(payload_bytes_max), begun })
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error, if it is permanent or lasts too long.
    async fn wait_after(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        let wait = self.backoff.next(error.facts().retry_after);
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        if !self.follow && failing_since.elapsed() + wait > DEADLINE {
            return Err(too_late(format!("no records were received for {DEADLINE:?}"), &error));
        }
        tracing::debug!("a read continues in {wait:?}: {error}");
        tokio::time::sleep(wait).await;
        self.transport.counts().retried();
        Ok(())
    }
}

fn records_request(log: &LogName, whence: Whence, position: i64) -> Request {
    Request::get(format!("/logs/{log}/records"))
        .query("whence", whence.as_str())
        .query("position", position)
        .header("accept", BINARY_RECORDS)
}

fn invalid(error: &binary_records::Error) -> Error {
    Error::bad_answer(format!("the server's response is invalid: {error}"))
}
