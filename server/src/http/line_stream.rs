//! Lines of a body whose length is not known in advance, as `tail -f | curl -T -` sends
//! them.
//!
//! ```text
//! a line arrives ──── 1 s ────▶ the complete lines are appended
//! the body is cut ────────────▶ the complete lines are appended, the unfinished one is not
//! the body ends ──────────────▶ all lines are appended, then the answer
//! ```
//!
//! Only bodies without a `Content-Length`, an expected position and a producer are
//! appended in this way. All others are appended block by block, and a block that fails
//! is not appended at all.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use styx_protocol::Code;
use tokio::time::Instant;

use super::body::{Arrival, RequestBody};
use super::write::{RecordsDecoder, WriteRequest, held};
use crate::session::{Error, PayloadBuilder, UNLIMITED_WAIT_BYTES_MAX, Written};
use crate::shutdown::Shutdown;

/// How long a complete line may wait for more lines before it is appended.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Why the records of a body were not all appended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The rest of the body cannot be received. The complete lines before that can
    /// still be appended.
    Interrupted(Error),
    /// The records or their append are refused. Nothing more can be appended.
    Refused(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Refused(error)
    }
}

impl WriteRequest {
    /// Appends lines while they arrive.
    ///
    /// # Errors
    /// After [`Failure::Interrupted`], call
    /// [`append_complete_lines`](Self::append_complete_lines).
    pub(super) async fn line_stream(
        &mut self,
        body: &mut RequestBody,
        mut decoder: RecordsDecoder,
        shutdown: &Shutdown,
    ) -> Result<Written, Failure> {
        let mut stopping = pin!(shutdown.begun());
        let mut pushed = 0;
        let mut begun = PayloadBuilder::default();
        let mut commit_at = None;
        loop {
            if self.stream.is_limited() {
                let incomplete = decoder.memory_for(held(pushed - decoder.offset()));
                self.wait_for_limit(incomplete, body, shutdown).await?;
                commit_at = None;
                body.restart_rate();
            }
            let arrival = tokio::select! {
                arrival = body.next_before(commit_at) => arrival,
                () = &mut stopping => return Err(Failure::Interrupted(shutting_down())),
            };
            match arrival {
                Ok(Arrival::Bytes(chunk)) => {
                    let incomplete = decoder.memory_for(held(pushed - decoder.offset()));
                    let checked = self.reservation.check_record(incomplete);
                    checked.map_err(|error| decoder.at_line(error))?;
                    let bytes = incomplete.saturating_add(2 * chunk.len());
                    let kept = bytes.saturating_add(self.stream.held_bytes());
                    if !matches!(self.reserve(kept, body).now_or_never(), Some(Ok(()))) {
                        // Before the body waits for memory or is refused, it frees what
                        // it can.
                        self.commit_lines(incomplete).await?;
                        commit_at = None;
                        self.wait_for_memory(bytes, body, shutdown).await?;
                    }
                    pushed += chunk.len() as u64;
                    decoder.push(chunk);
                    while let Some(payload) = decoder.next()? {
                        self.push(payload, &mut begun).await?;
                    }
                    if let Some(part) = decoder.take_part() {
                        begun.push(&part);
                    }
                }
                Ok(Arrival::End) => break,
                Ok(Arrival::Nothing) => {}
                Err(error) if body.is_cut() => return Err(Failure::Interrupted(error)),
                Err(error) => return Err(Failure::Refused(error)),
            }
            match commit_at {
                None if self.stream.is_filling() => commit_at = Some(Instant::now() + COMMIT_AFTER),
                Some(at) if at <= Instant::now() => {
                    let incomplete = decoder.memory_for(held(pushed - decoder.offset()));
                    self.commit_lines(incomplete).await?;
                    commit_at = None;
                    // A sender of complete lines may be slow.
                    body.restart_rate();
                }
                _ => {}
            }
        }
        if let Some(payload) = decoder.finish()? {
            self.push(payload, &mut begun).await?;
        }
        Ok(self.stream.finish().await?)
    }

    /// Waits until the memory is reserved, without a limit if it is little.
    async fn wait_for_memory(
        &mut self,
        bytes: usize,
        body: &RequestBody,
        shutdown: &Shutdown,
    ) -> Result<(), Failure> {
        loop {
            match self.reserve(bytes, body).await {
                Ok(()) => return Ok(()),
                Err(_) if bytes <= UNLIMITED_WAIT_BYTES_MAX && !shutdown.has_begun() => {}
                Err(error) => return Err(Failure::Interrupted(error)),
            }
        }
    }

    /// Appends the complete lines, and frees all memory except that of the incomplete
    /// line.
    async fn commit_lines(&mut self, incomplete: usize) -> Result<(), Error> {
        self.stream.finish().await?;
        self.reservation.shrink_to(incomplete);
        Ok(())
    }

    /// Appends the complete lines of a body that was interrupted by this error. Returns
    /// the error to answer with, and what is durable.
    pub(super) async fn append_complete_lines(mut self, interrupted: Error) -> (Error, Written) {
        // A separate task appends them, because hyper drops the handler of a reset stream.
        let appending = tokio::spawn(async move {
            let failed = self.stream.finish().await.err();
            (failed, self.stream.abandon().await)
        });
        match appending.await {
            Ok((failed, written)) => (failed.unwrap_or(interrupted), written),
            Err(error) => {
                let message = format!("appending the complete lines failed: {error}");
                (Error::new(Code::UnknownError, message), Written::default())
            }
        }
    }
}

pub(super) fn shutting_down() -> Error {
    Error::new(Code::ShuttingDown, "the server is stopping; send the remaining lines again")
}
