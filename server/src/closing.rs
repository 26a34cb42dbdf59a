//! How a connection ends without destroying what was sent.
//!
//! ```text
//! last words ─▶ FIN ─▶ read until the peer closes, or for so long
//! ```
//!
//! A socket that is closed while bytes lie unread in it sends a reset, and a
//! reset makes the peer lose what it has not read yet: the last ack, the error.
//! So what still comes is read and thrown away. Bounded in time whatever the
//! peer does, and not waited for when it has vanished.

use std::io;
use std::net::Shutdown as Side;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::presence::Presence;
use crate::shutdown::Shutdown;

/// The longest that any peer may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The same while the server stops.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(1);
const SCRATCH_BYTES: usize = 16 << 10;

/// Sends the last words, closes this side, and waits until the peer has closed
/// too. `silence_max` is for how long nothing may move in either direction, and
/// what a peer that has vanished is found out within.
///
/// # Errors
/// The connection is gone, or the peer took too long.
pub(crate) async fn close(
    tcp: &TcpStream,
    mut last_words: &[u8],
    silence_max: Duration,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let mut stopping = pin!(shutdown.begun());
    let (mut is_stopping, mut peer_has_closed, mut has_closed) = (false, false, false);
    let mut presence = Presence::new(silence_max);
    let mut scratch = Vec::new();
    let mut moved = Instant::now();
    let mut last = moved + TIME_MAX;
    loop {
        if last_words.is_empty() && !has_closed {
            has_closed = true;
            socket2::SockRef::from(tcp).shutdown(Side::Write)?;
        }
        if has_closed && peer_has_closed {
            return Ok(());
        }
        // A peer may write until it is done before it reads anything.
        let result = tokio::select! {
            ready = tcp.readable(), if !peer_has_closed => ready.and_then(|()| {
                scratch.resize(SCRATCH_BYTES, 0);
                let count = tcp.try_read(&mut scratch)?;
                peer_has_closed = count == 0;
                Ok(())
            }),
            ready = tcp.writable(), if !has_closed => ready.and_then(|()| {
                let count = tcp.try_write(last_words)?;
                last_words = last_words.get(count..).unwrap_or_default();
                Ok(())
            }),
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                last = last.min(Instant::now() + STOPPING_TIME_MAX);
                continue;
            }
            gone = presence.gone(tcp) => return Err(gone),
            () = tokio::time::sleep_until(last.min(moved + silence_max)) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        match result {
            Ok(()) => moved = Instant::now(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (peer.expect("connect"), accepted.expect("accept").0)
    }

    #[tokio::test]
    async fn what_was_sent_arrives_though_the_peer_sends_on() {
        // Closed at once, 1 MiB of it unread, the socket was reset and the peer
        // lost the last bytes.
        let (mut peer, tcp) = pair().await;
        let shutdown = Shutdown::new();
        let closing = close(&tcp, b"the last words", TIME_MAX, &shutdown);
        let sending_on = async {
            peer.write_all(&vec![0; 1 << 20]).await.expect("it is read");
            let mut words = Vec::new();
            peer.read_to_end(&mut words).await.expect("no reset");
            drop(peer);
            words
        };
        let (closed, words) = tokio::join!(closing, sending_on);
        closed.expect("the peer closed too");
        assert_eq!(words, b"the last words");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_close_is_let_go() {
        let (_silent, tcp) = pair().await;
        let (shutdown, begun) = (Shutdown::new(), Instant::now());
        let seven = Duration::from_secs(7);
        assert!(close(&tcp, b"x", seven, &shutdown).await.is_err());
        assert_eq!(begun.elapsed(), seven);
        shutdown.begin();
        let ((_silent, tcp), begun) = (pair().await, Instant::now());
        assert!(close(&tcp, b"x", seven, &shutdown).await.is_err());
        assert_eq!(begun.elapsed(), STOPPING_TIME_MAX);
    }
}
