//! [`WebSocketConsumer`]: a connection that reads; each record is one binary
//! message.
//!
//! ```text
//! RecordReader ── batch ──▶ frames, one write ──▶ socket
//!    ▲                                              │ all sent
//!    └──────── next batch, or wait for records ◀────┘
//! ```
//!
//! Invariant: the next batch is read only after the kernel has taken the last one.
//! So a consumer that does not read costs one batch, and a small one while the
//! response budget is used up.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::{Code, record};

use super::close_cause::CloseCause;
use super::connection::{Listen, WebSocketConnection};
use super::frame;
use crate::app::App;
use crate::handover::{Ending, EndingBegun};
use crate::session::{Batch, ChunkReservation, Error, RecordReader, ResponseChunks};

/// Bytes of control frames that are read at a time.
const CONTROLS_BYTES: usize = 256;
/// How many bytes longer a record can be as a frame than as stored.
const EXTRA_BYTES_MAX: usize = frame::HEADER_BYTES_MAX - RECORD_HEADER_BYTES;
/// After a batch of this size the task yields to others on the same thread.
const LONG_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct WebSocketConsumer {
    pub(super) reader: RecordReader,
    /// The memory that batches take until they are sent.
    pub(super) chunks: ResponseChunks,
    /// Records that are still to be sent.
    pub(super) left: u64,
    /// Whether to wait for new records at the end of the log.
    pub(super) follow: bool,
}

impl WebSocketConsumer {
    /// Sends records until all are sent or something ends the connection.
    pub(super) async fn serve(
        mut self,
        mut connection: WebSocketConnection,
        app: Arc<App>,
        ending: Ending,
    ) {
        let Err(cause) = self.run(&mut connection, ending).await;
        cause.log();
        drop(self);
        connection.close(&cause, &app.shutdown).await;
    }

    async fn run(
        &mut self,
        connection: &mut WebSocketConnection,
        ending: Ending,
    ) -> Result<Infallible, CloseCause> {
        let mut ending = ending.begun();
        loop {
            // The decoder of this connection refuses messages.
            while connection.next()?.is_some() {}
            if connection.is_write_closed() {
                return Err(CloseCause::Gone("the socket failed"));
            }
            let (mut waits, mut limited) = (false, None);
            if connection.has_sent_all() {
                if self.left == 0 {
                    return Err(CloseCause::Complete);
                }
                limited = self.reader.limited();
            }
            if connection.has_sent_all() && limited.is_none() {
                match self.read(connection, &mut ending).await? {
                    Some((batch, chunk)) => {
                        let frames = self.frames(&batch, chunk.bytes_max())?;
                        let is_long = frames.len() >= LONG_BYTES;
                        self.reader.charge(frames.len());
                        connection.send(chunk.keep(frames));
                        drop(batch);
                        if is_long {
                            tokio::task::yield_now().await;
                        }
                    }
                    None if self.follow => waits = true,
                    None => {
                        let message = "the log now ends before the end that it had when this read began; read it again";
                        return Err(Error::new(Code::LogEndRegressed, message).into());
                    }
                }
            }
            tokio::select! {
                ready = connection.ready(Listen::Yes) => {
                    ready?;
                    let _ = connection.receive(CONTROLS_BYTES)?;
                }
                more = self.reader.wait(None), if waits => drop(more?),
                () = tokio::time::sleep(limited.unwrap_or_default()), if limited.is_some() => {}
                error = &mut ending => return Err(error.into()),
            }
        }
    }

    /// The next batch. The archive's object store may take long, so pings are sent and answered in
    /// the meantime.
    async fn read(
        &mut self,
        connection: &mut WebSocketConnection,
        ending: &mut EndingBegun,
    ) -> Result<Option<(Batch, ChunkReservation)>, CloseCause> {
        let mut next = pin!(self.reader.next(&self.chunks));
        loop {
            tokio::select! {
                biased;
                read = &mut next => return Ok(read?),
                error = &mut *ending => return Err(error.into()),
                ready = connection.ready(Listen::Yes) => ready?,
            }
            let _ = connection.receive(CONTROLS_BYTES)?;
            while connection.next()?.is_some() {}
            if connection.is_write_closed() {
                return Err(CloseCause::Gone("the socket failed"));
            }
        }
    }

    /// The batch's records as messages: at most as many as are left, and no more
    /// once there are `bytes_max`. The reader continues after them.
    fn frames(&mut self, batch: &Batch, bytes_max: usize) -> Result<Bytes, Error> {
        let count_max = usize::try_from(batch.count().min(self.left)).unwrap_or(usize::MAX);
        let bytes = batch.len_bytes().saturating_add(count_max.saturating_mul(EXTRA_BYTES_MAX));
        let mut out = Vec::with_capacity(bytes.min(bytes_max));
        let mut count = 0;
        for (_, records) in batch.blocks() {
            let (bytes, mut offset) = (records.bytes(), 0);
            while count < self.left && out.len() < bytes_max {
                // An error means the end of the records.
                let Ok((start, end)) = record::frame(bytes, offset) else { break };
                frame::encode(frame::BINARY, bytes.get(start..end).unwrap_or_default(), &mut out);
                offset = end;
                count += 1;
            }
        }
        self.left -= count;
        self.reader.go_back_to(batch.first() + count)?;
        Ok(out.into())
    }
}
