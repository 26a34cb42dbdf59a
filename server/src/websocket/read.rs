//! A consumer's connection: one binary message a record.
//!
//! ```text
//! Reading ── batch ──▶ frames, one write ──▶ socket
//!    ▲                                         │ free again
//!    └──── the next, or wait for records ◀─────┘
//! ```
//!
//! Invariant: a batch is read only once the one before has been handed to the
//! system, so that a consumer that does not read costs one; when all of them
//! together hold too much, a small one.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::{Code, record};

use super::ended::Ended;
use super::frame;
use super::line::{Line, Listen};
use crate::app::App;
use crate::session::{Batch, Error, Reading, ResponseChunks};

/// Bytes of control frames that are read at a time.
const CONTROLS_BYTES: usize = 256;
/// What a record has more of as a frame than as itself, at most.
const MORE_BYTES: usize = frame::HEADER_BYTES_MAX - RECORD_HEADER_BYTES;
/// After a batch of this size others on the same thread have their turn.
const LONG_BYTES: usize = 64 << 10;

/// What a consumer asked for.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) reading: Reading,
    /// The memory that batches may take until they are sent.
    pub(super) chunks: ResponseChunks,
    /// Records that it is still to get.
    pub(super) left: u64,
    /// Wait for new ones at the end.
    pub(super) follow: bool,
}

impl Consumer {
    /// Sends records until all are sent or something ends the connection.
    pub(super) async fn serve(mut self, mut line: Line, app: Arc<App>) {
        let Err(ended) = self.run(&mut line, &app).await;
        ended.report();
        drop(self);
        line.close(&ended, &app.shutdown).await;
    }

    async fn run(&mut self, line: &mut Line, app: &App) -> Result<Infallible, Ended> {
        let mut stopping = pin!(app.shutdown.begun());
        loop {
            // Messages are none of a consumer's business: the decoder refuses them.
            while line.next()?.is_some() {}
            if line.is_deaf() {
                return Err(Ended::Gone("the socket failed"));
            }
            let mut waits = false;
            if line.is_free() {
                if self.left == 0 {
                    return Err(Ended::Complete);
                }
                match self.reading.next(&self.chunks).await? {
                    Some((batch, chunk)) => {
                        let frames = self.frames(&batch, chunk.bytes_max())?;
                        let is_long = frames.len() >= LONG_BYTES;
                        line.send(chunk.keep(frames));
                        drop(batch);
                        if is_long {
                            tokio::task::yield_now().await;
                        }
                    }
                    None if self.follow => waits = true,
                    None => {
                        let message = "the log ends before the end it had when the read began";
                        return Err(Error::new(Code::LogEndRegressed, message).into());
                    }
                }
            }
            tokio::select! {
                ready = line.ready(Listen::Yes) => {
                    ready?;
                    let _ = line.receive(CONTROLS_BYTES)?;
                }
                more = self.reading.wait(None), if waits => drop(more?),
                () = &mut stopping => return Err(Ended::stopping()),
            }
        }
    }

    /// The batch's records as messages: as many as are left, and no further one
    /// once there are so many bytes; the reading goes on behind them.
    fn frames(&mut self, batch: &Batch, bytes_max: usize) -> Result<Bytes, Error> {
        let count_max = usize::try_from(batch.count().min(self.left)).unwrap_or(usize::MAX);
        let bytes = batch.len_bytes().saturating_add(count_max.saturating_mul(MORE_BYTES));
        let mut out = Vec::with_capacity(bytes.min(bytes_max));
        let mut count = 0;
        for (_, records) in batch.blocks() {
            let (bytes, mut offset) = (records.bytes(), 0);
            while count < self.left && out.len() < bytes_max {
                // Past the last record there is none.
                let Ok((start, end)) = record::frame(bytes, offset) else { break };
                frame::encode(frame::BINARY, bytes.get(start..end).unwrap_or_default(), &mut out);
                offset = end;
                count += 1;
            }
        }
        self.left -= count;
        self.reading.go_back_to(batch.first() + count)?;
        Ok(out.into())
    }
}
