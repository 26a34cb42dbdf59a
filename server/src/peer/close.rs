//! How a connection is closed without destroying what was sent.
//!
//! ```text
//! final bytes ─▶ FIN ─▶ read until the peer closes, or a time limit passes
//! ```
//!
//! A socket that is closed with unread bytes in it sends a reset. The reset makes
//! the peer lose what it has not read yet: the last ack, the error. So everything
//! that still arrives is read and discarded. The time for that is bounded,
//! whatever the peer does, and a peer that has vanished is not waited for.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::TcpLiveness;
use crate::shutdown::Shutdown;
use crate::transport::Transport;

/// The longest that any peer may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The same for a peer that has lost its access.
const TIME_MAX_WITHOUT_ACCESS: Duration = Duration::from_secs(2);
/// The same while the server stops.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(1);
const SCRATCH_BYTES: usize = 16 << 10;

/// How long a peer may take to read the final bytes and to close its side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloseLimits {
    silence_max: Duration,
    time_max: Duration,
}

impl CloseLimits {
    /// For this long nothing may move in either direction; 60 s in all. A peer that has
    /// vanished is noticed within `silence_max`.
    pub(crate) fn silence(silence_max: Duration) -> CloseLimits {
        CloseLimits { silence_max, time_max: TIME_MAX }
    }

    /// 2 s in all if the peer has lost its access: then its stream must end soon, whatever it
    /// does.
    pub(crate) fn shorter_if(self, has_lost_access: bool) -> CloseLimits {
        let time_max = if has_lost_access { TIME_MAX_WITHOUT_ACCESS } else { self.time_max };
        CloseLimits { time_max, ..self }
    }
}

/// Sends the final bytes, closes this side, and waits until the peer has closed too, within
/// the limits.
///
/// # Errors
/// The connection is gone, or the peer took too long.
pub(crate) async fn close(
    transport: &Transport,
    mut final_bytes: &[u8],
    limits: CloseLimits,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let CloseLimits { silence_max, time_max } = limits;
    let mut stopping = pin!(shutdown.begun());
    let (mut is_stopping, mut peer_has_closed, mut has_closed) = (false, false, false);
    let mut liveness = TcpLiveness::new(silence_max);
    let mut scratch = Vec::new();
    let mut last_progress = Instant::now();
    let mut deadline = last_progress + time_max;
    loop {
        if final_bytes.is_empty() && !has_closed {
            match transport.try_close_write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                closed => {
                    closed?;
                    has_closed = true;
                }
            }
        }
        if has_closed && peer_has_closed {
            return Ok(());
        }
        // Reads while it writes, because a peer may finish writing before it reads.
        let result = tokio::select! {
            ready = transport.readable(), if !peer_has_closed => ready.and_then(|()| {
                scratch.resize(SCRATCH_BYTES, 0);
                let count = transport.try_read(&mut scratch)?;
                peer_has_closed = count == 0;
                Ok(())
            }),
            ready = transport.writable(), if !has_closed => ready.and_then(|()| {
                if final_bytes.is_empty() {
                    return Ok(());
                }
                let count = transport.try_write(final_bytes)?;
                final_bytes = final_bytes.get(count..).unwrap_or_default();
                Ok(())
            }),
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                deadline = deadline.min(Instant::now() + STOPPING_TIME_MAX);
                continue;
            }
            gone = liveness.gone(transport) => return Err(gone),
            () = tokio::time::sleep_until(deadline.min(last_progress + silence_max)) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        match result {
            Ok(()) => last_progress = Instant::now(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::peer::testing::connected_pair;

    #[tokio::test]
    async fn final_bytes_arrive_even_if_the_peer_keeps_sending() {
        // The socket was once closed at once with 1 MiB unread in it: that sent a
        // reset, and the peer lost the final bytes.
        let (mut peer, tcp) = connected_pair().await;
        let tcp = Transport::from(tcp);
        let shutdown = Shutdown::new(false);
        let closing = close(&tcp, b"final bytes", CloseLimits::silence(TIME_MAX), &shutdown);
        let sending = async {
            peer.write_all(&vec![0; 1 << 20]).await.expect("it is read");
            let mut received = Vec::new();
            peer.read_to_end(&mut received).await.expect("no reset");
            drop(peer);
            received
        };
        let (closed, received) = tokio::join!(closing, sending);
        closed.expect("the peer closed too");
        assert_eq!(received, b"final bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_does_not_close_is_dropped_after_the_time_limit() {
        let (_silent, tcp) = connected_pair().await;
        let tcp = Transport::from(tcp);
        let (shutdown, begun) = (Shutdown::new(false), Instant::now());
        let seven = Duration::from_secs(7);
        let limits = CloseLimits::silence(seven);
        assert!(close(&tcp, b"x", limits, &shutdown).await.is_err());
        assert_eq!(begun.elapsed(), seven);
        for (has_lost_access, expected) in [(false, seven), (true, TIME_MAX_WITHOUT_ACCESS)] {
            let ((_silent, tcp), begun) = (connected_pair().await, Instant::now());
            let limits = limits.shorter_if(has_lost_access);
            assert!(close(&Transport::from(tcp), b"x", limits, &shutdown).await.is_err());
            assert_eq!(begun.elapsed(), expected);
        }
        shutdown.begin();
        let ((_silent, tcp), begun) = (connected_pair().await, Instant::now());
        let tcp = Transport::from(tcp);
        assert!(close(&tcp, b"x", limits, &shutdown).await.is_err());
        assert_eq!(begun.elapsed(), STOPPING_TIME_MAX);
    }
}
