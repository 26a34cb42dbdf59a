//! [`ProducerSocket`]: waits for a producer's bytes, sends its acks, and checks that
//! it is alive.
//!
//! Invariant: heartbeats are sent during every wait, and never end one.

use std::io;

use styx_protocol::frame;

use crate::peer::{HeartbeatEvent, HeartbeatTimeouts, HeartbeatTimer, TcpLiveness};
use crate::stream::v1::send_queue::SendQueue;
use crate::transport::Transport;

/// While this many bytes of acks wait to be sent, nothing more is read from the
/// producer.
const OUTBOX_BYTES_MAX: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct ProducerSocket {
    pub(super) transport: Transport,
    pub(super) send_queue: SendQueue,
    heartbeat: HeartbeatTimer,
    liveness: TcpLiveness,
}

/// What happened on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProducerEvent {
    /// The socket can be read.
    Readable,
    /// The producer has read enough acks to be read from again.
    AckBacklogDrained,
    /// The producer was silent for its whole timeout.
    PeerSilent,
}

impl ProducerSocket {
    pub(super) fn new(transport: Transport, timeouts: HeartbeatTimeouts) -> ProducerSocket {
        let (heartbeat, liveness) =
            (HeartbeatTimer::new(timeouts), TcpLiveness::new(timeouts.ours));
        ProducerSocket { transport, send_queue: SendQueue::default(), heartbeat, liveness }
    }

    /// Bytes arrived, or the socket was not read until now.
    pub(super) fn note_received(&mut self) {
        self.heartbeat.note_received();
    }

    /// Whether so many acks wait to be sent that the socket must not be read.
    pub(super) fn is_ack_backlog_full(&self) -> bool {
        self.send_queue.len() >= OUTBOX_BYTES_MAX
    }

    /// Waits until something happens. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) async fn event(&mut self, is_listening: bool) -> io::Result<ProducerEvent> {
        loop {
            let transport = &self.transport;
            tokio::select! {
                biased;
                readable = transport.readable(), if is_listening => {
                    return readable.map(|()| ProducerEvent::Readable);
                }
                writable = transport.writable(), if !self.send_queue.is_empty() => {
                    writable?;
                    let was_full = self.is_ack_backlog_full();
                    self.send()?;
                    if was_full && !self.is_ack_backlog_full() {
                        return Ok(ProducerEvent::AckBacklogDrained);
                    }
                }
                due = self.heartbeat.due(|| !is_listening || transport.has_unread()) => match due {
                    HeartbeatEvent::PeerSilent => return Ok(ProducerEvent::PeerSilent),
                    HeartbeatEvent::SendHeartbeat => self.send_heartbeat()?,
                },
                gone = self.liveness.gone(transport) => return Err(gone),
            }
        }
    }

    /// Sends what the socket takes now.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if self.send_queue.send(&self.transport)? {
            self.heartbeat.note_sent();
        }
        Ok(())
    }

    fn send_heartbeat(&mut self) -> io::Result<()> {
        self.heartbeat.note_sent();
        // A heartbeat would arrive no sooner than what is queued.
        if self.send_queue.is_empty() {
            frame::encode_heartbeat(None, self.send_queue.frames());
            self.send()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn unread_bytes_count_as_activity() {
        // A busy server once closed connections whose heartbeats were not read yet.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let mut client = std::net::TcpStream::connect(address).expect("connect");
        let (tcp, _) = listener.accept().await.expect("accept");
        let (ours, peers) = (Duration::from_millis(50), Duration::from_secs(30));
        let mut peer = ProducerSocket::new(tcp.into(), HeartbeatTimeouts { ours, peers });
        let read = |peer: &ProducerSocket| peer.transport.try_read(&mut [0; 9]).ok();
        assert_eq!(read(&peer), None, "nothing has arrived, and the runtime notes that");
        client.write_all(b"x").expect("it can be sent");
        std::thread::sleep(2 * ours);
        assert_eq!(peer.event(true).await.expect("it is there"), ProducerEvent::Readable);
        assert_eq!((read(&peer), read(&peer)), (Some(1), None));
        peer.note_received();
        assert_eq!(peer.event(true).await.expect("it is there"), ProducerEvent::PeerSilent);
    }
}
