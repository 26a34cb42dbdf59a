//! [`WatchedSocket`]: a socket that fails when its peer neither sends nor reads.
//!
//! ```text
//! new, or in a request's head         header_time from its beginning
//! kept alive without a request        idle_time
//! during a request                    no limit here (bodies have their own)
//! bytes to write, peer does not read  stall_time without progress
//! … of an answer with a minimum rate  too few bytes in stall_time
//! at any time, peer vanished          see `peer::TcpLiveness`
//! ```
//!
//! Hyper's own header timeout cannot distinguish a slow head from an idle
//! connection, and sets a timer for every request. This one sets no timer on the hot
//! path: a timer that fires too early checks the clock and is set again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::read_ahead::ReadAhead;
use super::stream_executor::TOO_SLOW;
use crate::peer::{HalfClose, MinimumRate, TcpLiveness, Verdict};
use crate::transport::{Transport, begins_tls};

const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time limits of a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_time: Duration,
    pub(super) idle_time: Duration,
    pub(super) stall_time: Duration,
}

/// The first bytes of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The preface of HTTP/2.
    Http2,
    /// Anything else.
    Http1,
    /// A handshake of TLS, which this connection does not speak.
    Tls,
}

/// A socket with deadlines.
#[derive(Debug)]
pub(super) struct WatchedSocket {
    stream: Transport,
    /// Bytes that were read to detect the protocol or a FIN.
    read_ahead: ReadAhead,
    activity: Arc<Activity>,
    limits: Limits,
    /// When the head of the next request began, and how many requests had begun then.
    head: Option<(u64, Instant)>,
    blocked_since: Option<Instant>,
    /// The minimum rate of the current answer, if it has one.
    rate: Option<MinimumRate>,
    read_alarm: LazyTimer,
    write_alarm: LazyTimer,
    liveness: TcpLiveness,
}

impl WatchedSocket {
    pub(super) fn new(stream: Transport, activity: Arc<Activity>, limits: Limits) -> WatchedSocket {
        WatchedSocket {
            stream,
            read_ahead: ReadAhead::default(),
            activity,
            limits,
            head: None,
            blocked_since: None,
            rate: None,
            read_alarm: LazyTimer(None),
            write_alarm: LazyTimer(None),
            liveness: TcpLiveness::new(limits.stall_time),
        }
    }

    /// The socket itself, and the bytes that were read from it and not returned yet.
    pub(super) fn into_parts(self) -> (Transport, Bytes) {
        (self.stream, self.read_ahead.into_bytes())
    }

    /// Tells a request whether the peer has closed its sending side.
    pub(super) fn half_close(&self) -> HalfClose {
        self.read_ahead.half_close()
    }

    /// What the peer begins with. The bytes read for that are read again.
    pub(super) async fn beginning(&mut self) -> io::Result<Beginning> {
        let mut first = [0; HTTP2_PREFACE.len()];
        let mut filled = 0;
        while let Some(rest) = first.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let count = self.read(rest).await?;
            filled += count;
            if count == 0 || !HTTP2_PREFACE.starts_with(first.get(..filled).unwrap_or_default()) {
                let read = first.get(..filled).unwrap_or_default();
                self.read_ahead.keep(Bytes::copy_from_slice(read));
                return Ok(if begins_tls(read) { Beginning::Tls } else { Beginning::Http1 });
            }
        }
        self.read_ahead.keep(Bytes::from_static(HTTP2_PREFACE));
        Ok(Beginning::Http2)
    }

    /// By when the peer must have sent something; `None` during a request.
    fn read_deadline(&self) -> Option<Instant> {
        if !self.activity.is_between_requests() {
            return None;
        }
        let begun = self.activity.requests_begun();
        Some(match self.head {
            _ if begun == 0 => self.activity.opened() + self.limits.header_time,
            // On HTTP/2 the bytes may be pings or other streams, not a head.
            Some((at, since)) if at == begun && !self.activity.is_http2() => {
                since + self.limits.header_time
            }
            _ => self.activity.idle_since() + self.limits.idle_time,
        })
    }

    fn note_read(&mut self) {
        if self.activity.is_between_requests() {
            let begun = self.activity.requests_begun();
            if self.head.is_none_or(|(at, _)| at != begun) {
                self.head = Some((begun, Instant::now()));
            }
        }
    }

    /// Handles the result of an attempt to write: progress, or a stall.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let since = self.blocked_since.take();
        if let Poll::Ready(result) = written {
            let count = *result.as_ref().unwrap_or(&0) as u64;
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            let verdict = self.rate().and_then(|rate| rate.record(count, waited));
            return Poll::Ready(if verdict == Some(Verdict::TooSlow) {
                Err(too_slow())
            } else {
                result
            });
        }
        let since = *self.blocked_since.insert(since.unwrap_or_else(Instant::now));
        let stall_time = self.limits.stall_time;
        let allowed_time = self.rate().map_or(stall_time, |rate| rate.window_left());
        if self.write_alarm.poll(cx, Some(since + allowed_time)).is_pending() {
            return self.liveness.poll_gone(cx, &self.stream).map(Err);
        }
        let Some(rate) = self.rate() else {
            return Poll::Ready(Err(timed_out("the peer does not read")));
        };
        if rate.record(0, since.elapsed()) == Some(Verdict::TooSlow) {
            return Poll::Ready(Err(too_slow()));
        }
        // It was fast enough so far, and another window begins.
        self.blocked_since = None;
        self.watch_write(cx, Poll::Pending)
    }

    /// The minimum rate of the current answer.
    fn rate(&mut self) -> Option<&mut MinimumRate> {
        let least = self.activity.bytes_per_second_min();
        if least == 0 {
            self.rate = None;
        } else if self.rate.is_none() {
            self.rate = Some(MinimumRate::new(least, self.limits.stall_time));
        }
        self.rate.as_mut()
    }
}

/// A timer that is moved as rarely as possible.
#[derive(Debug)]
struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Ready when the deadline has passed. Without a deadline it is never ready. If a
    /// deadline appears later, the liveness checks wake the task, and it polls again.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

fn too_slow() -> io::Error {
    tracing::info!("a connection was closed: {TOO_SLOW}");
    timed_out(TOO_SLOW)
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read_ahead.read(buf) {
            this.note_read();
            // Together with the bytes that follow: after so short a first read hyper
            // would double its buffer for the life of the connection.
            return match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.note_read();
                Poll::Ready(result)
            }
            Poll::Pending => {
                let deadline = this.read_deadline();
                if this.read_alarm.poll(cx, deadline).is_ready() {
                    return Poll::Ready(Err(timed_out("the peer sends nothing")));
                }
                this.liveness.poll_gone(cx, &this.stream).map(Err)
            }
        }
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Hyper flushes whenever it polls the connection, also when it does not read
        // because more requests wait already.
        if let Poll::Ready(gone) = this.liveness.poll_gone(cx, &this.stream) {
            return Poll::Ready(Err(gone));
        }
        if let Poll::Ready(ended) = this.read_ahead.poll_ended(cx, &mut this.stream) {
            return Poll::Ready(Err(ended));
        }
        match Pin::new(&mut this.stream).poll_flush(cx) {
            // With TLS, accepted bytes may wait for the peer to read.
            Poll::Pending => this.watch_write(cx, Poll::Pending).map_ok(drop),
            Poll::Ready(Ok(())) if this.blocked_since.is_some() => {
                this.watch_write(cx, Poll::Ready(Ok(0))).map_ok(drop)
            }
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::peer::testing::connected_pair;

    const LIMITS: Limits = Limits {
        header_time: Duration::from_millis(100),
        idle_time: Duration::from_millis(400),
        stall_time: Duration::from_millis(100),
    };

    async fn pair() -> (TcpStream, WatchedSocket, Arc<Activity>) {
        let (peer, stream) = connected_pair().await;
        let activity = Activity::new();
        let watched = WatchedSocket::new(stream.into(), activity.clone(), LIMITS);
        (peer, watched, activity)
    }

    async fn read_fails_after(watched: &mut WatchedSocket) -> Duration {
        let begun = Instant::now();
        let mut buf = [0; 100];
        loop {
            match watched.read(&mut buf).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return begun.elapsed();
                }
            }
        }
    }

    #[tokio::test]
    async fn silent_peer_and_slow_head_fail_after_header_time() {
        let (_peer, mut watched, _) = pair().await;
        let after = read_fails_after(&mut watched).await;
        assert!(after >= LIMITS.header_time && after < LIMITS.idle_time, "{after:?}");
        let (mut peer, mut watched, _) = pair().await;
        let dribble = tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let after = read_fails_after(&mut watched).await;
        assert!(after < LIMITS.idle_time, "{after:?}");
        drop(watched);
        dribble.await.expect("it ends");
    }

    #[tokio::test]
    async fn idle_time_applies_between_requests_and_not_during_one() {
        let (_peer, mut watched, activity) = pair().await;
        let request = activity.begin();
        let waiting = tokio::time::timeout(LIMITS.idle_time * 2, watched.read_u8()).await;
        assert!(waiting.is_err(), "a request may take its time");
        drop(request);
        let after = read_fails_after(&mut watched).await;
        assert!(after >= LIMITS.idle_time, "{after:?}");
    }

    #[tokio::test]
    async fn peer_that_does_not_read_fails_after_stall_time() {
        let (_peer, mut watched, _) = pair().await;
        let bytes = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = watched.write_all(&bytes).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn peer_below_the_minimum_rate_of_an_answer_fails() {
        // No peer reads as fast as the second rate, and every peer as fast as the first.
        for (bytes_per_second_min, is_given_up) in [(1, false), (u64::MAX, true)] {
            let (mut peer, mut watched, activity) = pair().await;
            let request = activity.begin();
            request.set_minimum_rate(bytes_per_second_min);
            let reading = tokio::spawn(async move {
                let mut buf = vec![0; 1 << 20];
                while peer.read(&mut buf).await.is_ok_and(|count| count > 0) {
                    // This test needs a slow reader.
                    tokio::time::sleep(LIMITS.stall_time / 10).await;
                }
            });
            let bytes = vec![0; 1 << 20];
            let (begun, mut given_up) = (Instant::now(), false);
            while !given_up && begun.elapsed() < 8 * LIMITS.stall_time {
                given_up = watched.write_all(&bytes).await.is_err();
            }
            assert_eq!(given_up, is_given_up, "{bytes_per_second_min}");
            drop(watched);
            reading.await.expect("it ends");
        }
    }

    #[tokio::test]
    async fn protocol_is_detected_and_its_first_bytes_are_read_again() {
        for (sent, expected) in [
            (&HTTP2_PREFACE[..], Beginning::Http2),
            (b"PRI * HTTP/1.1\r\n\r\n", Beginning::Http1),
            (b"\x16\x03\x01\x02\x00\x01", Beginning::Tls),
        ] {
            let (mut peer, mut watched, _) = pair().await;
            for part in sent.chunks(5) {
                peer.write_all(part).await.expect("write");
            }
            drop(peer);
            assert_eq!(watched.beginning().await.expect("read"), expected);
            let mut again = Vec::new();
            watched.read_to_end(&mut again).await.expect("read");
            assert_eq!(again, sent);
        }
    }
}
