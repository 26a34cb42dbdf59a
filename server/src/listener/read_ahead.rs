//! [`ReadAhead`]: finds the FIN or the reset of a peer whose request waits.
//!
//! ```text
//! request waits (long poll, events) ──▶ the socket is read ──▶ bytes: kept for hyper
//!                                                         ├──▶ FIN:   the request is told
//!                                                         └──▶ reset: the connection ends
//! ```
//!
//! Hyper does not read while it waits for an answer, so that a peer that closes its
//! sending side still gets it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::peer::HalfClose;
use crate::transport::Transport;

/// How much of the requests behind a waiting one is read to find a FIN behind them.
const BYTES_MAX: usize = 32 << 10;
/// How often to ask whether a peer has reset the connection after its FIN. No event
/// tells that, because the runtime reports a socket with a FIN as always readable.
const RESET_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes that were read before hyper asked for them, and what follows them.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    bytes: Bytes,
    half_close: HalfClose,
    reset_check: Option<Pin<Box<Sleep>>>,
}

impl ReadAhead {
    /// Tells a request whether the peer has closed its sending side.
    pub(super) fn half_close(&self) -> HalfClose {
        self.half_close.clone()
    }

    /// Keeps bytes that are read again.
    pub(super) fn keep(&mut self, bytes: Bytes) {
        self.bytes = bytes;
    }

    /// The kept bytes.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns kept bytes as far as they fit; false if there are none.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.bytes.len().min(buf.remaining());
        buf.put_slice(self.bytes.get(..count).unwrap_or_default());
        self.bytes.advance(count);
        count > 0
    }

    /// Reads if a request waits. Ready with the error if the connection has ended.
    pub(super) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<io::Error> {
        if !self.half_close.is_watched() {
            return Poll::Pending;
        }
        while !self.half_close.is_closed() {
            if self.bytes.len() >= BYTES_MAX {
                return Poll::Pending;
            }
            let mut bytes = [MaybeUninit::uninit(); 1024];
            let mut buf = ReadBuf::uninit(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => self.half_close.set_closed(),
                Ok(()) => {
                    let mut kept = BytesMut::from(std::mem::take(&mut self.bytes));
                    kept.extend_from_slice(buf.filled());
                    self.bytes = kept.freeze();
                }
                Err(error) => return Poll::Ready(error),
            }
        }
        self.poll_reset(cx, stream)
    }

    /// Ready when the peer has reset the connection after its FIN.
    fn poll_reset(&mut self, cx: &mut Context<'_>, stream: &Transport) -> Poll<io::Error> {
        let check = self
            .reset_check
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(RESET_CHECK_INTERVAL)));
        loop {
            ready!(check.as_mut().poll(cx));
            if let Some(error) = stream.socket().take_error().unwrap_or_else(Some) {
                return Poll::Ready(error);
            }
            check.as_mut().reset(Instant::now() + RESET_CHECK_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::peer::testing::connected_pair;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn fin_behind_further_requests_is_found_and_their_bytes_are_kept() {
        let (mut peer, stream) = connected_pair().await;
        let mut stream = Transport::from(stream);
        let mut read_ahead = ReadAhead::default();
        let watch = read_ahead.half_close().watch();
        let sent = vec![7; 5000];
        peer.write_all(&sent).await.expect("write");
        peer.shutdown().await.expect("a FIN");
        tokio::select! {
            error = poll_fn(|cx| read_ahead.poll_ended(cx, &mut stream)) => panic!("{error}"),
            closed = tokio::time::timeout(PATIENCE, watch.closed()) => closed.expect("a FIN"),
        }
        let mut read = Vec::new();
        let mut part = [0; 999];
        let mut buf = ReadBuf::new(&mut part);
        while read_ahead.read(&mut buf) {
            read.extend_from_slice(buf.filled());
            buf.clear();
        }
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn peer_that_closed_everything_resets_what_is_sent_after_its_fin() {
        let (peer, stream) = connected_pair().await;
        let mut stream = Transport::from(stream);
        let mut read_ahead = ReadAhead::default();
        let _watch = read_ahead.half_close().watch();
        drop(peer);
        let mut ended = async |stream: &mut Transport, at_most: Duration| {
            let ended = poll_fn(|cx| read_ahead.poll_ended(cx, stream));
            tokio::time::timeout(at_most, ended).await.is_ok()
        };
        assert!(!ended(&mut stream, 2 * RESET_CHECK_INTERVAL).await, "a FIN alone ends nothing");
        stream.write_all(b": comment\n\n").await.expect("the kernel takes it");
        assert!(ended(&mut stream, PATIENCE).await);
    }

    #[tokio::test]
    async fn nothing_is_read_while_no_request_waits() {
        let (mut peer, stream) = connected_pair().await;
        let mut stream = Transport::from(stream);
        let mut read_ahead = ReadAhead::default();
        peer.write_all(b"x").await.expect("write");
        stream.readable().await.expect("a byte");
        let ended = poll_fn(|cx| Poll::Ready(read_ahead.poll_ended(cx, &mut stream))).await;
        assert!(ended.is_pending());
        assert_eq!(stream.read_u8().await.expect("the byte is still there"), b'x');
    }
}
