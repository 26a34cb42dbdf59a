//! [`Appender`]: appends records with one HTTP request after the other.
//!
//! Every request names a producer and the sequence of its first record. So a request whose
//! outcome is unknown is sent again, and the log skips the records that it has already.
//!
//! Invariant: a sequence is never used for two different records. After a failed request, the
//! log would refuse the next one as a gap, unless it has the records of the failed one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, RECORD_HEADER_BYTES};
use styx_protocol::media_type::BINARY_RECORDS;
use styx_protocol::{LogId, LogName, binary_records, header};

use super::too_late;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::logs::known_name;
use crate::producer::options::DEADLINE;
use crate::transport::{Request, RequestBody, Transport};

/// A request has at most these bytes, unless it is a single larger record. It is half a block,
/// so it is atomic, and proxies that accept bodies of up to 1 MiB by default accept it.
const REQUEST_BYTES_MAX: usize = BLOCK_RAW_BYTES_MAX / 2;
/// The most bytes of the answer to an append.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A large record may take longer than the timeouts, by its time at this rate.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// Appends records over HTTP. See the [module](super).
#[derive(Debug)]
pub struct Appender {
    client: Client,
    log: LogName,
    log_id: LogId,
    producer_id: u64,
    /// The records of the next request, as binary-records.
    body: BytesMut,
    /// Bytes of these records as a block has them.
    block_bytes: usize,
    /// Records of the next request.
    count: u64,
    /// The sequence of its first record.
    sequence: u64,
    /// All records before this sequence are in the log.
    acked_sequence: u64,
    /// Records that the log did not have before.
    appended: u64,
    /// The position after the last acknowledged record.
    known_end: Option<u64>,
}

/// The answer to an append.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Answer {
    position: u64,
    count: u64,
}

impl Appender {
    /// An appender to the log with this id, which [`Client::get_log_details`] returns. It does
    /// not connect.
    ///
    /// With a `producer_id`, the first record has sequence 0. If the log has appended a part of
    /// the same records for this producer already, it appends only the others. Without it, the
    /// id is random.
    ///
    /// # Errors
    /// `log_not_found` for an invalid name; `invalid_argument` for the producer id 0.
    pub fn new(
        client: &Client,
        log: &str,
        log_id: LogId,
        producer_id: Option<u64>,
    ) -> Result<Appender, Error> {
        let producer_id = match producer_id {
            Some(0) => return Err(Error::invalid_argument("producer_id is 0: use 1 to 2^64 - 1")),
            Some(id) => id,
            None => getrandom::u64().map(|id| id.max(1)).map_err(|e| {
                Error::invalid_argument(format!("the system provides no random numbers: {e}"))
            })?,
        };
        Ok(Appender {
            client: client.clone(),
            log: known_name(log)?,
            log_id,
            producer_id,
            body: BytesMut::new(),
            block_bytes: 0,
            count: 0,
            sequence: 0,
            acked_sequence: 0,
            appended: 0,
            known_end: None,
        })
    }

    /// Adds a record to the next request, which may first have to be sent.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        let record_bytes = payload.len() + RECORD_HEADER_BYTES;
        if self.block_bytes + record_bytes > REQUEST_BYTES_MAX {
            self.flush().await?;
        }
        binary_records::encode(payload, &mut self.body);
        self.block_bytes += record_bytes;
        self.count += 1;
        Ok(())
    }

    /// Sends the records that wait and returns when they are durable. Sends them again if the
    /// outcome is unknown or an error is temporary, for at most
    /// [`DEADLINE`](crate::producer::options::DEADLINE), and longer for a large record.
    ///
    /// Not cancel safe: if the future is dropped, the records may or may not be appended, and
    /// later ones may be refused.
    ///
    /// # Errors
    /// Those of an append. [`Error::maybe_appended`] says whether records of this request may
    /// be in the log. Later ones may be refused.
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        let request = self.request();
        let (body, count) = (self.body.split().freeze(), std::mem::take(&mut self.count));
        self.sequence += count;
        self.block_bytes = 0;
        let transport = Arc::clone(self.client.transport());
        let sending = async move { send(&transport, &request, body).await };
        match self.client.runtime().run(sending).await {
            Ok(Sent { answer, repeated }) => {
                self.acked_sequence = self.sequence;
                // Of a repeated request, the count does not say what the first one appended.
                self.appended += if repeated { count } else { answer.count.min(count) };
                self.known_end = self.known_end.max(Some(answer.position));
                Ok(())
            }
            Err(error) => {
                let appended = error.facts().count.unwrap_or_default().min(count);
                self.appended += appended;
                self.acked_sequence += appended;
                Err(error)
            }
        }
    }

    /// The number of records that are certainly in the log because of this appender.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// The number of records that were given to it and are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.sequence + self.count - self.acked_sequence
    }

    fn request(&self) -> Request {
        let request = Request::post(format!("/logs/{}/records", self.log))
            .header("content-type", BINARY_RECORDS)
            .header(header::LOG_ID, self.log_id)
            .header(header::PRODUCER, self.producer_id)
            .header(header::SEQUENCE, self.sequence);
        match self.known_end {
            Some(end) => request.header(header::KNOWN_END, end),
            None => request,
        }
    }
}

/// The outcome of a request that is durable.
struct Sent {
    answer: Answer,
    /// Whether an earlier attempt may have appended its records.
    repeated: bool,
}

/// Sends a request until it is acknowledged.
async fn send(transport: &Arc<Transport>, request: &Request, body: Bytes) -> Result<Sent, Error> {
    let transfer = Duration::from_secs(body.len() as u64 / BYTES_PER_SECOND_MIN);
    let (timeout, deadline) = (transport.options().call_timeout + transfer, DEADLINE + transfer);
    let begun = Instant::now();
    let mut backoff = Backoff::random();
    let mut repeated = false;
    loop {
        let attempt = tokio::time::timeout(timeout, once(transport, request, body.clone())).await;
        let error = match attempt {
            Ok(Ok(answer)) => return Ok(Sent { answer, repeated }),
            Ok(Err(error)) => error,
            Err(_) => {
                let text = format!("{} did not respond within {timeout:?}", transport.address());
                Error::new(Kind::TimedOut, text).with_maybe_appended(true)
            }
        };
        repeated |= error.maybe_appended();
        if !error.is_retriable() {
            return Err(error.with_maybe_appended(repeated));
        }
        let wait = backoff.next(error.facts().retry_after);
        if begun.elapsed() + wait > deadline {
            let what = format!("records were not acknowledged within {deadline:?}");
            return Err(too_late(what, &error).with_maybe_appended(repeated));
        }
        tracing::debug!("an append is sent again in {wait:?}: {error}");
        tokio::time::sleep(wait).await;
        transport.counts().retried();
    }
}

async fn once(transport: &Arc<Transport>, request: &Request, body: Bytes) -> Result<Answer, Error> {
    let mut response = transport.send(request, RequestBody::Whole(body)).await?;
    let answer = response.bytes(ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| error.with_maybe_appended(true))?;
    serde_json::from_slice(&answer).map_err(|e| {
        let text = format!("the server's response cannot be parsed: {e}");
        Error::bad_answer(text).with_maybe_appended(true)
    })
}
