//! [`RequestBody`]: a request's bytes, decompressed, chunk by chunk.
//!
//! A body that stops or arrives very slowly fails after `tcp_timeout`; time in which
//! the server does not read it does not count. Nothing is allocated because of a
//! `Content-Length`: chunks are the bytes that arrived.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use styx_protocol::Code;
use tokio::time::Instant;

use super::content_encoding::ContentDecoder;
use crate::peer::{MinimumRate, Verdict};
use crate::session::{Error, Reservation, Sending, SlowSender};

/// How much of an unwanted body is read, so that the client sees the answer.
const DRAIN_BYTES_MAX: u64 = 16 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// The minimum rate of a body, over each `tcp_timeout` that the server waits for it.
const BYTES_PER_SECOND_MIN: u64 = 8;

/// The bytes of a request. When it is dropped, the rest is read and discarded for a
/// while, because a client that is still sending could not see the answer.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    decoder: ContentDecoder,
    silence_max: Duration,
    /// Bytes received, before decompression.
    received: u64,
    /// Enforced whether or not memory is short.
    rate: MinimumRate,
    /// Enforced while others wait for memory.
    sender: SlowSender,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Option<Incoming>,
        decoder: ContentDecoder,
        silence_max: Duration,
    ) -> Result<RequestBody, Error> {
        Ok(RequestBody {
            incoming,
            decoder,
            silence_max,
            received: 0,
            rate: MinimumRate::new(BYTES_PER_SECOND_MIN, silence_max),
            sender: SlowSender::new(),
        })
    }

    /// The same body with a higher minimum rate, for requests that hold much.
    pub(super) fn with_minimum_rate(mut self, bytes_per_second: u64) -> RequestBody {
        self.rate = MinimumRate::new(bytes_per_second, self.silence_max);
        self
    }

    /// The size of the whole body, if it is known and the body is not compressed.
    pub(super) fn exact_bytes(&self) -> Option<u64> {
        let incoming = self.incoming.as_ref().filter(|_| self.decoder.is_identity())?;
        incoming.size_hint().exact()
    }

    /// The next bytes, at least one; `None` at the end.
    ///
    /// # Errors
    /// The body ended early, stalled, or cannot be decompressed.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(bytes) = self.decoder.next()? {
                return Ok(Some(bytes));
            }
            if self.incoming.is_none() {
                return self.decoder.finish();
            }
            let bytes = self.receive().await?;
            if !bytes.is_empty() {
                self.decoder.push(bytes);
            }
        }
    }

    /// The next bytes, before decompression; empty at the end.
    async fn receive(&mut self) -> Result<Bytes, Error> {
        let mut silence = Duration::ZERO;
        loop {
            let Some(incoming) = &mut self.incoming else { return Ok(Bytes::new()) };
            let received = self.received;
            // Most bodies are one frame; those do not read the clock.
            let wait_began = (received > 0).then(Instant::now);
            let mut patience = self.silence_max - silence;
            if wait_began.is_some() {
                patience = patience.min(self.rate.window_left());
            }
            let frame = match tokio::time::timeout(patience, incoming.frame()).await {
                Ok(Some(frame)) => {
                    frame.map_err(|error| ended_early(received, &error.to_string()))?
                }
                Ok(None) => {
                    self.incoming = None;
                    continue;
                }
                Err(_) => {
                    silence += patience;
                    if silence >= self.silence_max {
                        let why = format!("nothing arrived for {} s", self.silence_max.as_secs());
                        return Err(self.stop_reading(&why));
                    }
                    self.note(0, patience)?;
                    continue;
                }
            };
            if incoming.is_end_stream() {
                self.incoming = None;
            }
            // Trailers are ignored.
            let bytes = frame.into_data().unwrap_or_default();
            let waited = wait_began.map_or(Duration::ZERO, |wait_began| wait_began.elapsed());
            self.note(bytes.len() as u64, waited)?;
            return Ok(bytes);
        }
    }

    /// Records what arrived.
    ///
    /// # Errors
    /// It arrived too slowly, and the body is not complete.
    fn note(&mut self, received: u64, waited: Duration) -> Result<(), Error> {
        self.received += received;
        self.sender.record(received, waited);
        let verdict = self.rate.record(received, waited);
        if verdict != Some(Verdict::TooSlow) || self.incoming.is_none() {
            return Ok(());
        }
        let least = self.rate.bytes_per_second_min();
        Err(self.stop_reading(&format!("it arrives too slowly, below {least} bytes per second")))
    }

    /// Refuses the body if the rest of it arrives too slowly to keep memory that
    /// others wait for.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) fn check_rate(&self, reservation: &Reservation) -> Result<(), Error> {
        match &self.incoming {
            Some(_) => self.sender.check(reservation, Sending::Body),
            None => Ok(()),
        }
    }

    /// Stops reading, with the error for that.
    fn stop_reading(&mut self, why: &str) -> Error {
        self.incoming = None;
        ended_early(self.received, why)
    }

    /// The whole body, if it is not larger than `bytes_max`.
    pub(super) async fn small(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.next().await? {
            if whole.len() + chunk.len() > bytes_max {
                let message = format!("the body is larger than the {bytes_max} bytes allowed");
                return Err(Error::new(Code::InvalidParams, message));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            discard(incoming);
        }
    }
}

/// Reads the rest of a body in the background, up to a limit: closing a connection with
/// unread bytes would destroy its answer.
pub(super) fn discard(mut incoming: Incoming) {
    if incoming.is_end_stream() {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(tokio::time::timeout(DRAIN_TIME_MAX, async move {
        let mut drained = 0;
        while let Some(Ok(frame)) = incoming.frame().await {
            drained += frame.data_ref().map_or(0, Bytes::len) as u64;
            if drained > DRAIN_BYTES_MAX {
                break;
            }
        }
    }));
}

fn ended_early(at: u64, why: &str) -> Error {
    Error::new(Code::MalformedRecords, format!("the body ended early, after {at} bytes: {why}"))
}
