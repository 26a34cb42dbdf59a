//! [`RequestBody`]: a request's bytes, decompressed, chunk by chunk.
//!
//! A body that stops coming, or only drips, is given up after `tcp_timeout`;
//! time in which nobody asks for it does not count. Nobody allocates what a
//! `Content-Length` says; chunks are what arrived.

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

/// How much of a body that nobody wants is read, so that the answer is seen.
const DRAIN_BYTES_MAX: u64 = 16 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// What a body has to bring on average in each `tcp_timeout` that it is waited for.
const BYTES_PER_SECOND_MIN: u64 = 8;

/// The bytes of a request. What is left when it is dropped is read and thrown
/// away for a while: a client that is still sending could not see the answer.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    decoder: ContentDecoder,
    silence_max: Duration,
    /// Bytes received, as they came.
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

    /// The same body, which has to bring more than others because much is kept for it.
    pub(super) fn with_minimum_rate(mut self, bytes_per_second: u64) -> RequestBody {
        self.rate = MinimumRate::new(bytes_per_second, self.silence_max);
        self
    }

    /// How many bytes the whole body has, if that is known and they are not
    /// compressed.
    pub(super) fn exact_bytes(&self) -> Option<u64> {
        let incoming = self.incoming.as_ref().filter(|_| self.decoder.is_identity())?;
        incoming.size_hint().exact()
    }

    /// The next bytes, at least one; `None` at the end.
    ///
    /// # Errors
    /// The body broke off, stalled, or does not decompress.
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

    /// What comes next, as it was sent; nothing at the end, which is then known.
    async fn receive(&mut self) -> Result<Bytes, Error> {
        let mut silence = Duration::ZERO;
        loop {
            let Some(incoming) = &mut self.incoming else { return Ok(Bytes::new()) };
            let received = self.received;
            // Most bodies are one frame, for which the clock is not looked at.
            let asked = (received > 0).then(Instant::now);
            let mut patience = self.silence_max - silence;
            if asked.is_some() {
                patience = patience.min(self.rate.window_left());
            }
            let frame = match tokio::time::timeout(patience, incoming.frame()).await {
                Ok(Some(frame)) => {
                    frame.map_err(|error| broken_off(received, &error.to_string()))?
                }
                Ok(None) => {
                    self.incoming = None;
                    continue;
                }
                Err(_) => {
                    silence += patience;
                    if silence >= self.silence_max {
                        let why = format!("nothing came for {} s", self.silence_max.as_secs());
                        return Err(self.given_up(&why));
                    }
                    self.note(0, patience)?;
                    continue;
                }
            };
            if incoming.is_end_stream() {
                self.incoming = None;
            }
            // Trailers say nothing to us.
            let bytes = frame.into_data().unwrap_or_default();
            let waited = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
            self.note(bytes.len() as u64, waited)?;
            return Ok(bytes);
        }
    }

    /// Takes note of what came.
    ///
    /// # Errors
    /// It came too slowly, and is not all there.
    fn note(&mut self, received: u64, waited: Duration) -> Result<(), Error> {
        self.received += received;
        self.sender.record(received, waited);
        let verdict = self.rate.record(received, waited);
        if verdict != Some(Verdict::TooSlow) || self.incoming.is_none() {
            return Ok(());
        }
        let least = self.rate.bytes_per_second_min();
        Err(self.given_up(&format!("it comes too slowly, below {least} bytes a second")))
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

    /// There is no use in waiting for the rest.
    fn given_up(&mut self, why: &str) -> Error {
        self.incoming = None;
        broken_off(self.received, why)
    }

    /// The whole body, if it is not longer than `bytes_max`.
    pub(super) async fn small(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.next().await? {
            if whole.len() + chunk.len() > bytes_max {
                let message = format!("the body is longer than the {bytes_max} bytes allowed");
                return Err(Error::new(Code::InvalidParams, message));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
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
}

fn broken_off(at: u64, why: &str) -> Error {
    Error::new(Code::MalformedRecords, format!("the body broke off after {at} bytes: {why}"))
}
