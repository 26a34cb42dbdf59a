//! A consumer's side of a styx/0 connection: records out of a log.
//!
//! ```text
//! reading ─▶ batch ─▶ messages ─▶ socket
//!    └ at the end: wait for more, or FIN
//! ```
//!
//! Invariant: one batch at a time, and the next one only when this one was handed
//! to the system; what a consumer that does not read costs is bounded by that.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::styx0::{self, Message};
use styx_protocol::{Code, ReadParams};

use super::peer::{End, Event, IDLE_AFTER, Peer};
use crate::app::App;
use crate::session::{Batch, ChunkReservation, Error, OpenLog, Reading, ResponseChunks};

/// How long nothing is sent after the 101: the first client loses what arrives
/// together with it.
const QUIET_TIME: Duration = Duration::from_millis(50);
/// What is read at once from a consumer.
const HEARTBEATS_BYTES: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;
const WRITE_BYTES_MIN: usize = 4 << 10;

/// What is still to be read.
#[derive(Debug)]
pub(super) struct Consumer {
    reading: Reading,
    chunks: ResponseChunks,
    /// Records that may still be sent.
    left: u64,
    /// Whether to wait for more at the end of the log.
    follow: bool,
    write_bytes: usize,
}

impl Consumer {
    /// Begins to read.
    ///
    /// # Errors
    /// The position is outside the log.
    pub(super) async fn new(
        app: &Arc<App>,
        log: &OpenLog,
        params: &ReadParams,
    ) -> Result<Consumer, Error> {
        let end = log.end_position();
        let from = log.seek(params).await?;
        let count_max = params.count.unwrap_or(u64::MAX);
        let config = &app.config;
        let batch_bytes = config.log_manager.read_buffer_size.min(BATCH_BYTES_MAX);
        Ok(Consumer {
            reading: log.read(from, batch_bytes)?,
            chunks: app.sessions.response_budget().chunks(),
            left: if params.follow { count_max } else { count_max.min(end.since(from)) },
            follow: params.follow,
            write_bytes: config.tcp_write_buffer_size.clamp(WRITE_BYTES_MIN, BATCH_BYTES_MAX),
        })
    }

    /// Sends records until there are no more, or the stream cannot go on.
    pub(super) async fn serve(mut self, mut peer: Peer) {
        tokio::time::sleep(QUIET_TIME).await;
        let end = match decode(&mut peer) {
            Ok(()) => self.send_all(&mut peer).await,
            Err(end) => end,
        };
        // A peer may take its time to close.
        drop(self);
        peer.close(end).await;
    }

    async fn send_all(&mut self, peer: &mut Peer) -> End {
        loop {
            if self.left == 0 {
                return End::Finished;
            }
            let next = {
                let next = std::pin::pin!(self.reading.next(&self.chunks));
                attended(peer, next).await
            };
            let done = match next {
                Ok(Ok(Some((batch, chunk)))) => self.send(peer, batch, chunk).await,
                Ok(Ok(None)) => self.at_end(peer).await,
                Ok(Err(error)) => Err(failed(&error)),
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn send(
        &mut self,
        peer: &mut Peer,
        batch: Batch,
        mut chunk: ChunkReservation,
    ) -> Result<(), End> {
        let mut left = chunk.records_max(&batch).min(self.left);
        self.left -= left;
        self.reading.go_back_to(batch.first() + left).map_err(|error| failed(&error))?;
        for (_, records) in batch.blocks() {
            if peer.outgoing.len() >= self.write_bytes {
                sent(peer).await?;
            }
            left -= u64::from(styx0::encode_records(records, left, &mut peer.outgoing));
        }
        // A consumer that does not read holds what is to be sent, and not twice.
        drop(batch);
        chunk.resize(peer.outgoing.len());
        sent(peer).await
    }

    /// Waits for more, if that is what the consumer wants.
    async fn at_end(&mut self, peer: &mut Peer) -> Result<(), End> {
        if !self.follow {
            let message = "the log ends before the end it had when the read began";
            return Err(failed(&Error::new(Code::LogEndRegressed, message)));
        }
        loop {
            if peer.has_finished {
                // It has ended the stream, and has got what there was.
                return Err(End::Finished);
            }
            let has_spare_memory = peer.has_spare_memory();
            tokio::select! {
                more = self.reading.wait(None) => {
                    return more.map(drop).map_err(|error| failed(&error));
                }
                event = peer.event(HEARTBEATS_BYTES) => heed(peer, event)?,
                () = tokio::time::sleep(IDLE_AFTER), if has_spare_memory => peer.release(),
            }
        }
    }
}

/// Hands everything to the system.
async fn sent(peer: &mut Peer) -> Result<(), End> {
    if peer.has_unsent() && peer.flush() == Some(Event::Lost) {
        return Err(End::Lost);
    }
    while peer.has_unsent() {
        let event = peer.event(HEARTBEATS_BYTES).await;
        heed(peer, event)?;
    }
    Ok(())
}

/// Runs something that takes its time, attending to the peer meanwhile.
async fn attended<T>(
    peer: &mut Peer,
    mut work: std::pin::Pin<&mut impl Future<Output = T>>,
) -> Result<T, End> {
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            event = peer.event(HEARTBEATS_BYTES) => heed(peer, event)?,
        }
    }
}

/// What an event means for a consumer's stream.
fn heed(peer: &mut Peer, event: Event) -> Result<(), End> {
    match event {
        Event::Received => decode(peer),
        Event::Sent => Ok(()),
        Event::Silence => {
            tracing::debug!("a styx/0 consumer was silent for too long");
            Err(End::Failed)
        }
        Event::Stopping => Err(End::Failed),
        Event::Lost => Err(End::Lost),
    }
}

/// A consumer has heartbeats to send, and nothing else.
fn decode(peer: &mut Peer) -> Result<(), End> {
    loop {
        match peer.decoder.next() {
            Ok(Some(Message::Heartbeat)) => {}
            Ok(Some(Message::Error(code))) => {
                tracing::debug!(code, "a styx/0 consumer has failed");
                return Err(End::Finished);
            }
            Ok(Some(Message::Record(_) | Message::Ack { .. })) => {
                tracing::debug!("a styx/0 consumer sent what is not for it to send");
                return Err(End::Failed);
            }
            Ok(None) => {
                let is_cut = peer.has_finished && peer.decoder.is_mid_message();
                return if is_cut { Err(End::Failed) } else { Ok(()) };
            }
            Err(error) => {
                tracing::debug!("a styx/0 consumer sent no messages: {error}");
                return Err(End::Failed);
            }
        }
    }
}

fn failed(error: &Error) -> End {
    if error.is_our_fault() {
        tracing::error!("a styx/0 consumer cannot go on: {error}");
    } else {
        tracing::debug!("a styx/0 consumer cannot go on: {error}");
    }
    End::Failed
}
