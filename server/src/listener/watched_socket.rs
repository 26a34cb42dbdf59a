//! [`WatchedSocket`]: a socket that gives up on a peer that has stopped taking part.
//!
//! ```text
//! fresh, or in a request's head    header_time from its beginning
//! kept alive without a request     idle_time
//! a request under way              no limit here (bodies have their own)
//! bytes to write, peer not reading stall_time without progress
//! … of an answer with a rate       too little in stall_time
//! at any time, peer vanished       see `presence`
//! ```
//!
//! Hyper's own header timeout cannot tell a slow head from an idle connection,
//! and sets a timer for every request. This one sets none on the hot path: an
//! alarm that fires too early looks at the clock and is set anew.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::stream_executor::TOO_SLOW;
use crate::peer::{MinimumRate, TcpLiveness, Verdict};

const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_time: Duration,
    pub(super) idle_time: Duration,
    pub(super) stall_time: Duration,
}

/// A socket with deadlines.
#[derive(Debug)]
pub(super) struct WatchedSocket {
    stream: TcpStream,
    /// Bytes that were read to find out the protocol.
    replay: Bytes,
    activity: Arc<Activity>,
    limits: Limits,
    /// When the head of the next request began, and how many were begun then.
    head: Option<(u64, Instant)>,
    blocked_since: Option<Instant>,
    /// Of the answer under way, if it has one.
    rate: Option<MinimumRate>,
    read_alarm: LazyTimer,
    write_alarm: LazyTimer,
    liveness: TcpLiveness,
}

impl WatchedSocket {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, limits: Limits) -> WatchedSocket {
        WatchedSocket {
            stream,
            replay: Bytes::new(),
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

    /// The socket itself, and what was read of it and not yet given out.
    pub(super) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.replay)
    }

    /// Whether the peer begins with HTTP/2; what was read is read again.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        let mut first = [0; HTTP2_PREFACE.len()];
        let mut filled = 0;
        while let Some(rest) = first.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let count = self.read(rest).await?;
            filled += count;
            if count == 0 || !HTTP2_PREFACE.starts_with(first.get(..filled).unwrap_or_default()) {
                self.replay = Bytes::copy_from_slice(first.get(..filled).unwrap_or_default());
                return Ok(false);
            }
        }
        self.replay = Bytes::from_static(HTTP2_PREFACE);
        Ok(true)
    }

    /// By when the peer has to have sent something; `None` while a request is
    /// under way.
    fn read_deadline(&self) -> Option<Instant> {
        if !self.activity.is_between_requests() {
            return None;
        }
        let begun = self.activity.requests_begun();
        Some(match self.head {
            _ if begun == 0 => self.activity.opened() + self.limits.header_time,
            // StreamExecutor and pings of HTTP/2 are no heads of ours.
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

    /// What becomes of an attempt to write: progress, or how long there was
    /// none.
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
        let in_time = self.rate().map_or(stall_time, |rate| rate.window_left());
        if self.write_alarm.poll(cx, Some(since + in_time)).is_pending() {
            return self.liveness.poll_gone(cx, &self.stream).map(Err);
        }
        let Some(rate) = self.rate() else {
            return Poll::Ready(Err(timed_out("the peer does not read")));
        };
        if rate.record(0, since.elapsed()) == Some(Verdict::TooSlow) {
            return Poll::Ready(Err(too_slow()));
        }
        // It was fast enough up to now: another span begins.
        self.blocked_since = None;
        self.watch_write(cx, Poll::Pending)
    }

    /// How fast the answer under way has to be taken.
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
    /// Ready once the deadline has passed. Without one it is never ready; who has
    /// one later is woken by the checks of its peer's liveness, and asks again.
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
    tracing::info!("a connection is given up: {TOO_SLOW}");
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
        if !this.replay.is_empty() {
            let count = this.replay.len().min(buf.remaining());
            buf.put_slice(this.replay.get(..count).unwrap_or_default());
            this.replay.advance(count);
            // With what came behind it, because a first read this short would
            // make hyper double its buffer for as long as the connection lives.
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
        // Hyper comes here whenever it looks after the connection, also when it
        // does not read because more requests wait already.
        if let Poll::Ready(gone) = this.liveness.poll_gone(cx, &this.stream) {
            return Poll::Ready(Err(gone));
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const LIMITS: Limits = Limits {
        header_time: Duration::from_millis(100),
        idle_time: Duration::from_millis(400),
        stall_time: Duration::from_millis(100),
    };

    async fn pair() -> (TcpStream, WatchedSocket, Arc<Activity>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let activity = Activity::new();
        let watched = WatchedSocket::new(accepted.expect("accept").0, activity.clone(), LIMITS);
        (peer.expect("connect"), watched, activity)
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
    async fn a_silent_peer_and_a_slow_head_are_given_up_alike() {
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
    async fn between_requests_the_idle_time_counts_and_within_one_none() {
        let (_peer, mut watched, activity) = pair().await;
        let request = activity.begin();
        let waiting = tokio::time::timeout(LIMITS.idle_time * 2, watched.read_u8()).await;
        assert!(waiting.is_err(), "a request may take its time");
        drop(request);
        let after = read_fails_after(&mut watched).await;
        assert!(after >= LIMITS.idle_time, "{after:?}");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
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
    async fn a_peer_that_takes_a_paced_answer_too_slowly_is_given_up() {
        // Nobody takes as much as the second has to, and anybody as much as the first.
        for (bytes_per_second_min, is_given_up) in [(1, false), (u64::MAX, true)] {
            let (mut peer, mut watched, activity) = pair().await;
            let request = activity.begin();
            request.set_minimum_rate(bytes_per_second_min);
            let reading = tokio::spawn(async move {
                let mut buf = vec![0; 1 << 20];
                while peer.read(&mut buf).await.is_ok_and(|count| count > 0) {
                    // A slow reader is what this is about.
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
    async fn the_preface_of_http2_is_recognised_and_read_again() {
        for (sent, expected) in [(&HTTP2_PREFACE[..], true), (b"PRI * HTTP/1.1\r\n\r\n", false)] {
            let (mut peer, mut watched, _) = pair().await;
            for part in sent.chunks(5) {
                peer.write_all(part).await.expect("write");
            }
            drop(peer);
            assert_eq!(watched.begins_http2().await.expect("read"), expected);
            let mut again = Vec::new();
            watched.read_to_end(&mut again).await.expect("read");
            assert_eq!(again, sent);
        }
    }
}
