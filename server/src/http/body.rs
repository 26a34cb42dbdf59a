//! [`RequestBody`]: a request's bytes, decompressed, chunk by chunk.
//!
//! A body that stops or arrives very slowly fails after `tcp_timeout`; time in which
//! the server does not read it does not count. Nothing is allocated because of a
//! `Content-Length`: chunks are the bytes that arrived. A caller may stop waiting at a
//! deadline of its own and continue later.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use styx_protocol::Code;
use tokio::time::Instant;

use super::content_encoding::ContentDecoder;
use crate::auth::Lease;
use crate::peer::{MinimumRate, Verdict};
use crate::session::{Error, Reservation, Sending, SlowSender};

/// How much of an unwanted body is read, so that the client sees the answer.
const DRAIN_BYTES_MAX: u64 = 16 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// The minimum rate of a body, over each `tcp_timeout` that the server waits for it.
const BYTES_PER_SECOND_MIN: u64 = 8;

/// How often the token of a body that does not arrive is checked.
const LEASE_CHECKED_AFTER: Duration = Duration::from_secs(1);

/// The bytes of a request. When it is dropped, the rest is read and discarded for a
/// while, because a client that is still sending could not see the answer.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    decoder: ContentDecoder,
    silence_max: Duration,
    /// How long the server has waited for the next bytes.
    silence: Duration,
    is_http2: bool,
    is_cut: bool,
    /// Bytes received, before decompression.
    received: u64,
    /// Enforced whether or not memory is short.
    rate: MinimumRate,
    /// Enforced while others wait for memory.
    sender: SlowSender,
    /// The right to send a long body.
    lease: Option<Lease>,
}

/// What [`RequestBody::next_before`] waited for.
#[derive(Debug)]
pub(super) enum Arrival {
    /// At least one byte.
    Bytes(Bytes),
    /// The body is complete.
    End,
    /// Neither, before the deadline.
    Nothing,
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
            silence: Duration::ZERO,
            is_http2: false,
            is_cut: false,
            received: 0,
            rate: MinimumRate::new(BYTES_PER_SECOND_MIN, silence_max),
            sender: SlowSender::new(),
            lease: None,
        })
    }

    /// The same body with a higher minimum rate, for requests that hold much.
    pub(super) fn with_minimum_rate(mut self, bytes_per_second: u64) -> RequestBody {
        self.rate = MinimumRate::new(bytes_per_second, self.silence_max);
        self
    }

    /// The same body, which is refused when the token of its request becomes invalid.
    pub(super) fn with_lease(mut self, lease: Lease) -> RequestBody {
        self.lease = Some(lease);
        self
    }

    /// The same body as a part of an HTTP/2 connection, if `is_http2`.
    pub(super) fn of_http2(mut self, is_http2: bool) -> RequestBody {
        self.is_http2 = is_http2;
        self
    }

    /// Whether the request says how many bytes the body has.
    pub(super) fn has_known_length(&self) -> bool {
        self.incoming.as_ref().is_none_or(|incoming| incoming.size_hint().exact().is_some())
    }

    /// The size of the body as it is sent, if the request says it.
    pub(super) fn announced_bytes(&self) -> Option<u64> {
        self.incoming.as_ref()?.size_hint().exact()
    }

    /// Whether the rest of the body did not arrive.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Starts a new window of the minimum rate. Call it when the bytes that arrived were
    /// used, so that the server holds nothing for a slow sender.
    pub(super) fn restart_rate(&mut self) {
        self.rate = MinimumRate::new(self.rate.bytes_per_second_min(), self.silence_max);
    }

    /// The size of the whole body, if it is known and the body is not compressed.
    pub(super) fn exact_bytes(&self) -> Option<u64> {
        let incoming = self.incoming.as_ref().filter(|_| self.decoder.is_identity())?;
        incoming.size_hint().exact()
    }

    /// Resolves when the request's token is no longer valid. Cancel safe.
    pub(super) async fn lease_ended(&self) -> Error {
        match &self.lease {
            Some(lease) => lease.ended().await,
            None => std::future::pending().await,
        }
    }

    /// The next bytes, at least one; `None` at the end.
    ///
    /// # Errors
    /// The body ended early, stalled, or cannot be decompressed.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.next_before(None).await? {
            Arrival::Bytes(bytes) => Ok(Some(bytes)),
            // Without a deadline, it is never `Nothing`.
            Arrival::End | Arrival::Nothing => Ok(None),
        }
    }

    /// The next bytes, the end of the body, or nothing if the deadline passes first.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) async fn next_before(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Arrival, Error> {
        loop {
            if let Some(bytes) = self.decoder.next()? {
                return Ok(Arrival::Bytes(bytes));
            }
            if self.incoming.is_none() {
                return Ok(self.decoder.finish()?.map_or(Arrival::End, Arrival::Bytes));
            }
            match self.receive(deadline).await? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => self.decoder.push(bytes),
                None => return Ok(Arrival::Nothing),
            }
        }
    }

    /// The next bytes, before decompression; empty at the end, and `None` at the deadline.
    async fn receive(&mut self, deadline: Option<Instant>) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Ok(Some(Bytes::new())) };
            if self.received > 0 || !self.silence.is_zero() {
                self.lease.as_ref().map_or(Ok(()), Lease::check)?;
            }
            // Most bodies are one frame; those do not read the clock.
            let wait_began = (self.received > 0).then(Instant::now);
            let mut patience = self.silence_max - self.silence;
            if self.lease.is_some() {
                patience = patience.min(LEASE_CHECKED_AFTER);
            }
            if wait_began.is_some() {
                patience = patience.min(self.rate.window_left());
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                patience = patience.min(left);
            }
            let frame = match tokio::time::timeout(patience, incoming.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.cut(&error.to_string())),
                Ok(None) => {
                    // hyper reports a stream that was reset with NO_ERROR as ended.
                    if self.is_http2 && !incoming.is_end_stream() {
                        return Err(self.cut("the client reset the stream"));
                    }
                    self.incoming = None;
                    continue;
                }
                Err(_) => {
                    self.silence += patience;
                    if self.silence >= self.silence_max {
                        let seconds = self.silence_max.as_secs();
                        return Err(self.stop_reading(&format!(
                            "nothing arrived for {seconds} s (tcp_timeout); \
                             send it again without such a pause"
                        )));
                    }
                    self.note(0, patience)?;
                    continue;
                }
            };
            self.silence = Duration::ZERO;
            if incoming.is_end_stream() {
                self.incoming = None;
            }
            // Trailers are ignored.
            let bytes = frame.into_data().unwrap_or_default();
            let waited = wait_began.map_or(Duration::ZERO, |wait_began| wait_began.elapsed());
            self.note(bytes.len() as u64, waited)?;
            return Ok(Some(bytes));
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
        Err(self.stop_reading(&format!(
            "it arrives too slowly, below {least} bytes per second; send it again faster"
        )))
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

    /// Stops reading a body that takes too long, with the error for that.
    fn stop_reading(&mut self, why: &str) -> Error {
        self.end_early(Code::RequestTimeout, why)
    }

    /// The error of a body whose rest cannot arrive.
    fn cut(&mut self, why: &str) -> Error {
        self.end_early(Code::MalformedRecords, why)
    }

    fn end_early(&mut self, code: Code, why: &str) -> Error {
        self.incoming = None;
        self.is_cut = true;
        Error::new(code, format!("the body ended early, after {} bytes: {why}", self.received))
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
