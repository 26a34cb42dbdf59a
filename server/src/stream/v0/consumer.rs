//! [`Styx0Consumer`]: sends a log's records to a styx/0 client.
//!
//! ```text
//! reader ─▶ batch ─▶ messages ─▶ socket
//!    └ at the end: wait for more, or FIN
//! ```
//!
//! Invariant: it reads one batch at a time, and the next one only after the kernel
//! has taken this one. That bounds the memory of a consumer that does not read.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::styx0::{self, Message};
use styx_protocol::{Code, ReadParams};

use super::connection::{IDLE_AFTER, Styx0Connection, Styx0End, Styx0Event};
use crate::app::App;
use crate::session::{
    Batch, ChunkReservation, Error, FollowedBy, OpenLog, RecordReader, ResponseChunks,
};

/// How long nothing is sent after the 101, because the first client loses bytes
/// that arrive together with it.
const QUIET_TIME: Duration = Duration::from_millis(50);
/// How many bytes of heartbeats are read at once.
const HEARTBEATS_BYTES: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;
const WRITE_BYTES_MIN: usize = 4 << 10;
/// After this many bytes, the task yields to others.
const LONG_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Styx0Consumer {
    reader: RecordReader,
    chunks: ResponseChunks,
    /// Records that may still be sent.
    left: u64,
    /// Whether to wait for more at the end of the log.
    follow: bool,
    write_bytes: usize,
}

impl Styx0Consumer {
    /// Begins to read.
    ///
    /// # Errors
    /// The position is outside the log.
    pub(super) async fn new(
        app: &Arc<App>,
        log: &OpenLog,
        params: &ReadParams,
        follower: Option<FollowedBy>,
    ) -> Result<Styx0Consumer, Error> {
        let end = log.end_position();
        let from = log.seek(params).await?;
        let count_max = params.count.unwrap_or(u64::MAX);
        let config = &app.config;
        let batch_bytes = config.log_manager.read_buffer_size.min(BATCH_BYTES_MAX);
        Ok(Styx0Consumer {
            // A record is copied to its message.
            reader: log.read(from, batch_bytes)?.with_copies(2).followed_by(follower),
            chunks: app.sessions.response_budget().chunks(),
            left: if params.follow { count_max } else { count_max.min(end.since(from)) },
            follow: params.follow,
            write_bytes: config.tcp_write_buffer_size.clamp(WRITE_BYTES_MIN, BATCH_BYTES_MAX),
        })
    }

    /// Sends records until there are no more or the stream has to end.
    pub(super) async fn serve(mut self, mut connection: Styx0Connection) {
        tokio::time::sleep(QUIET_TIME).await;
        let end = match decode(&mut connection) {
            Ok(()) => self.send_all(&mut connection).await,
            Err(end) => end,
        };
        // Frees memory first, because the peer may take long to close.
        drop(self);
        connection.close(end).await;
    }

    async fn send_all(&mut self, connection: &mut Styx0Connection) -> Styx0End {
        loop {
            if self.left == 0 {
                return Styx0End::Finished;
            }
            let next = {
                let next = std::pin::pin!(self.reader.next(&self.chunks));
                run_while_serving(connection, next).await
            };
            let done = match next {
                Ok(Ok(Some((batch, chunk)))) => self.send(connection, batch, chunk).await,
                Ok(Ok(None)) => self.at_end(connection).await,
                Ok(Err(error)) => Err(failed(&error)),
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
            if connection.must_end() {
                return Styx0End::Failed;
            }
        }
    }

    async fn send(
        &mut self,
        connection: &mut Styx0Connection,
        batch: Batch,
        mut chunk: ChunkReservation,
    ) -> Result<(), Styx0End> {
        let mut left = chunk.records_max(&batch).min(self.left);
        self.left -= left;
        self.reader.go_back_to(batch.first() + left).map_err(|error| failed(&error))?;
        for (_, records) in batch.blocks() {
            if connection.outgoing.len() >= self.write_bytes {
                sent(connection).await?;
            }
            left -= u64::from(styx0::encode_records(records, left, &mut connection.outgoing));
        }
        self.reader.charge(batch.len_bytes());
        // The encoded bytes are enough; a consumer that does not read must not hold
        // the batch as well.
        let is_long = batch.len_bytes() >= LONG_BYTES;
        drop(batch);
        chunk.resize(connection.outgoing.len());
        sent(connection).await?;
        if is_long {
            // A consumer whose socket takes everything must not make others wait.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits for more records if the consumer follows the log.
    async fn at_end(&mut self, connection: &mut Styx0Connection) -> Result<(), Styx0End> {
        if !self.follow {
            let message = "the log now ends before the end that it had when this read began";
            return Err(failed(&Error::new(Code::LogEndRegressed, message)));
        }
        loop {
            if connection.has_finished {
                // The consumer has closed its side, and has received everything.
                return Err(Styx0End::Finished);
            }
            let has_spare_memory = connection.has_spare_memory();
            tokio::select! {
                more = self.reader.wait(None) => {
                    return more.map(drop).map_err(|error| failed(&error));
                }
                event = connection.event(HEARTBEATS_BYTES) => handle_event(connection, event)?,
                () = tokio::time::sleep(IDLE_AFTER), if has_spare_memory => connection.release_memory(),
            }
        }
    }
}

/// Waits until the kernel has taken everything.
async fn sent(connection: &mut Styx0Connection) -> Result<(), Styx0End> {
    if connection.has_unsent() && connection.flush() == Some(Styx0Event::Disconnected) {
        return Err(Styx0End::Disconnected);
    }
    while connection.has_unsent() {
        let event = connection.event(HEARTBEATS_BYTES).await;
        handle_event(connection, event)?;
    }
    Ok(())
}

/// Runs `work` and handles the connection's events meanwhile.
async fn run_while_serving<T>(
    connection: &mut Styx0Connection,
    mut work: std::pin::Pin<&mut impl Future<Output = T>>,
) -> Result<T, Styx0End> {
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            event = connection.event(HEARTBEATS_BYTES) => handle_event(connection, event)?,
        }
    }
}

/// Handles an event of the connection.
fn handle_event(connection: &mut Styx0Connection, event: Styx0Event) -> Result<(), Styx0End> {
    match event {
        Styx0Event::Received => decode(connection),
        Styx0Event::Sent => Ok(()),
        Styx0Event::PeerSilent => {
            tracing::debug!(
                "a styx/0 consumer sent nothing for its whole timeout; closing its connection"
            );
            Err(Styx0End::Failed)
        }
        Styx0Event::MustEnd => Err(Styx0End::Failed),
        Styx0Event::Disconnected => Err(Styx0End::Disconnected),
    }
}

/// Decodes what the consumer sent: only heartbeats and an error are allowed.
fn decode(connection: &mut Styx0Connection) -> Result<(), Styx0End> {
    loop {
        match connection.decoder.next() {
            Ok(Some(Message::Heartbeat)) => {}
            Ok(Some(Message::Error(code))) => {
                tracing::debug!(code, "a styx/0 consumer reported an error");
                return Err(Styx0End::Finished);
            }
            Ok(Some(Message::Record(_) | Message::Ack { .. })) => {
                tracing::debug!(
                    "a styx/0 consumer sent a record or an ack; only heartbeats are allowed"
                );
                return Err(Styx0End::Failed);
            }
            Ok(None) => {
                let is_cut = connection.has_finished && connection.decoder.is_mid_message();
                return if is_cut { Err(Styx0End::Failed) } else { Ok(()) };
            }
            Err(error) => {
                tracing::debug!("a styx/0 consumer sent a malformed message: {error}");
                return Err(Styx0End::Failed);
            }
        }
    }
}

fn failed(error: &Error) -> Styx0End {
    if error.is_server_fault() {
        tracing::error!("a styx/0 consumer's stream failed: {error}");
    } else {
        tracing::debug!("a styx/0 consumer's stream ended: {error}");
    }
    Styx0End::Failed
}
