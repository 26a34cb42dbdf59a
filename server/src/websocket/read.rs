//! A consumer's connection: one binary message a record.
//!
//! ```text
//! Reading ── batch ──▶ frames, one write ──▶ socket
//!    ▲                                         │ free again
//!    └──── the next, or wait for records ◀─────┘
//! ```
//!
//! Invariant: a batch is read only once the one before has been handed to the
//! system, so that a consumer that does not read costs one.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::{Code, record};

use super::ended::Ended;
use super::frame;
use super::line::{Line, Listen};
use crate::app::App;
use crate::session::{Batch, Error, Reading};

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
                match self.reading.next().await? {
                    Some(batch) => {
                        self.put(&batch, line);
                        if batch.len_bytes() >= LONG_BYTES {
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

    /// Puts the batch's records on the line, as many as are left.
    fn put(&mut self, batch: &Batch, line: &mut Line) {
        let count = usize::try_from(batch.count().min(self.left)).unwrap_or(usize::MAX);
        line.reserve(batch.len_bytes() + count * MORE_BYTES);
        for (_, records) in batch.blocks() {
            let (bytes, mut offset) = (records.bytes(), 0);
            while self.left > 0 {
                // Past the last record there is none.
                let Ok((start, end)) = record::frame(bytes, offset) else { break };
                line.put(frame::BINARY, bytes.get(start..end).unwrap_or_default());
                offset = end;
                self.left -= 1;
            }
        }
    }
}
