//! [`ConsumerSocket`]: sends to a consumer, and checks that it is alive.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use styx_protocol::frame::{self, Ends, Fault, FrameDecoder, Route};

#[cfg(target_os = "linux")]
use super::transfer::{Transfer, takes_something};
use crate::handover::{Ending, EndingBegun, Socket};
use crate::peer::{HeartbeatEvent, HeartbeatTimeouts, HeartbeatTimer, TcpLiveness};
use crate::session::{Error, OpenLog, Span};
use crate::stream::v1::error_frame;
use crate::stream::v1::send_queue::SendQueue;
use crate::transport::Transport;

/// Bytes of heartbeats that are read at once.
const READ_BYTES: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct ConsumerSocket {
    pub(super) transport: Arc<Transport>,
    pub(super) send_queue: SendQueue,
    log: OpenLog,
    timeouts: HeartbeatTimeouts,
    decoder: FrameDecoder,
    heartbeat: HeartbeatTimer,
    liveness: TcpLiveness,
    ending: EndingBegun,
    /// Part of a file is being sent, and no frame may come in between.
    is_mid_span: bool,
}

/// Why nothing more is sent.
#[derive(Debug)]
pub(super) enum ConsumerEnd {
    /// With an error frame.
    Failed(Fault),
    /// The consumer has closed, or the connection is gone.
    Disconnected(io::Error),
}

impl From<io::Error> for ConsumerEnd {
    fn from(error: io::Error) -> ConsumerEnd {
        ConsumerEnd::Disconnected(error)
    }
}

impl From<Error> for ConsumerEnd {
    fn from(error: Error) -> ConsumerEnd {
        ConsumerEnd::Failed(error_frame::of(&error))
    }
}

impl ConsumerSocket {
    pub(super) fn new(
        log: OpenLog,
        timeouts: HeartbeatTimeouts,
        socket: Socket,
        ending: Ending,
    ) -> ConsumerSocket {
        // A consumer that sends heartbeats may stop reading, and the kernel's timeout
        // does not know about heartbeats.
        let _ = socket.transport.socket().options().set_tcp_user_timeout(None);
        let mut decoder = FrameDecoder::new(Route::ConsumerToServer, 0);
        decoder.push(&socket.received);
        ConsumerSocket {
            transport: Arc::new(socket.transport),
            send_queue: SendQueue::default(),
            log,
            timeouts,
            decoder,
            heartbeat: HeartbeatTimer::new(timeouts),
            liveness: TcpLiveness::new(timeouts.ours),
            ending: ending.begun(),
            is_mid_span: false,
        }
    }

    /// Runs the future and handles the socket's events meanwhile.
    ///
    /// # Errors
    /// The stream has to end.
    pub(super) async fn run_while_serving<F: Future>(
        &mut self,
        future: F,
    ) -> Result<F::Output, ConsumerEnd> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                stopped = self.handle_next_event() => stopped?,
            }
        }
    }

    /// Checks whether the stream has to end. A stream that never waits must ask.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check_ending(&mut self) -> Result<(), ConsumerEnd> {
        (&mut self.ending).now_or_never().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    /// The stream has to end.
    pub(super) async fn flush(&mut self) -> Result<(), ConsumerEnd> {
        self.send()?;
        while !self.send_queue.is_empty() {
            self.handle_next_event().await?;
        }
        Ok(())
    }

    /// Sends a part of a file, in a frame.
    ///
    /// # Errors
    /// The stream has to end. In the middle of the frame there is no way to send an
    /// error frame.
    pub(super) async fn send_span(&mut self, span: Span) -> Result<(), ConsumerEnd> {
        let bytes = usize::try_from(span.len()).unwrap_or(usize::MAX);
        self.send_queue.frames().extend_from_slice(&frame::blocks_header(bytes));
        self.flush().await?;
        self.is_mid_span = true;
        let sent = self.transfer(span).await;
        self.is_mid_span = false;
        sent.map_err(|stop| match stop {
            ConsumerEnd::Failed(fault) => {
                ConsumerEnd::Disconnected(io::Error::other(fault.message))
            }
            gone => gone,
        })
    }

    #[cfg(target_os = "linux")]
    async fn transfer(&mut self, span: Span) -> Result<(), ConsumerEnd> {
        let transport = Arc::clone(&self.transport);
        let mut transfer = Transfer::new(span, Arc::clone(&transport));
        loop {
            let run = move || (transfer.run(), transfer);
            let ran = self.run_while_serving(tokio::task::spawn_blocking(run)).await?;
            let (result, back) = ran.map_err(io::Error::from)?;
            result?;
            self.heartbeat.note_sent();
            if back.is_done() {
                return Ok(());
            }
            transfer = back;
            self.run_while_serving(takes_something(&transport)).await??;
        }
    }

    /// On other systems no spans are read.
    #[cfg(not(target_os = "linux"))]
    async fn transfer(&mut self, _: Span) -> Result<(), ConsumerEnd> {
        Err(ConsumerEnd::Disconnected(io::ErrorKind::Unsupported.into()))
    }

    /// Queues a heartbeat with the log's range.
    pub(super) fn queue_heartbeat(&mut self) {
        let ends = Ends { start: self.log.start_position(), end: self.log.end_position() };
        frame::encode_heartbeat(Some(ends), self.send_queue.frames());
    }

    /// Waits for the next event and handles it. Cancel safe.
    async fn handle_next_event(&mut self) -> Result<(), ConsumerEnd> {
        let is_sending = !self.send_queue.is_empty();
        let transport = &self.transport;
        tokio::select! {
            biased;
            error = &mut self.ending => Err(error.into()),
            readable = self.transport.readable() => {
                readable?;
                self.read_heartbeats()
            }
            writable = self.transport.writable(), if is_sending => {
                writable?;
                self.send()
            }
            due = self.heartbeat.due(|| transport.has_unread()) => match due {
                HeartbeatEvent::PeerSilent => Err(ConsumerEnd::Failed(error_frame::silence(self.timeouts.ours))),
                HeartbeatEvent::SendHeartbeat => {
                    // A heartbeat would arrive no sooner than what is queued.
                    if !is_sending && !self.is_mid_span {
                        self.queue_heartbeat();
                        self.send()?;
                    }
                    self.heartbeat.note_sent();
                    Ok(())
                }
            },
            gone = self.liveness.gone(transport) => Err(gone.into()),
            () = self.send_queue.stalled() => {
                self.send_queue.copy_shared();
                Ok(())
            }
        }
    }

    fn send(&mut self) -> Result<(), ConsumerEnd> {
        if self.send_queue.send(&self.transport)? {
            self.heartbeat.note_sent();
        }
        Ok(())
    }

    /// Reads what the consumer sends: heartbeats.
    fn read_heartbeats(&mut self) -> Result<(), ConsumerEnd> {
        let mut bytes = [0; READ_BYTES];
        match self.transport.try_read(&mut bytes) {
            Ok(0) => return Err(ConsumerEnd::Disconnected(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => self.decoder.push(bytes.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.heartbeat.note_received();
        loop {
            match self.decoder.next() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(ConsumerEnd::Failed(error_frame::malformed(&error))),
            }
        }
    }
}
