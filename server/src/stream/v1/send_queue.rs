//! [`SendQueue`]: what waits to be sent: blocks in memory shared with others, and
//! small frames in a buffer of its own.
//!
//! ```text
//! chunks: [header][blocks…][header][blocks…]   frames: heartbeat, ack, error
//!         └──────────── one vectored write ──────────────┘
//! ```

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::Instant;

use crate::transport::Transport;

/// Capacity for small frames that is kept while there are none.
const KEPT_BYTES: usize = 1 << 10;
/// Chunks in one write.
const SLICES_MAX: usize = 64;
/// After this long without progress, what waits is copied out of shared memory.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    chunks: VecDeque<Bytes>,
    /// Sent after the chunks.
    frames: BytesMut,
    bytes: usize,
    /// When shared memory was queued or last made progress.
    shared_since: Option<Instant>,
}

impl SendQueue {
    /// The buffer to append small frames to.
    pub(super) fn frames(&mut self) -> &mut BytesMut {
        &mut self.frames
    }

    /// Appends bytes without copying them.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if !self.frames.is_empty() {
            let frames = self.frames.split().freeze();
            self.bytes += frames.len();
            self.chunks.push_back(frames);
        }
        self.shared_since.get_or_insert_with(Instant::now);
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.bytes + self.frames.len()
    }

    /// Resolves when shared memory has made no progress for 1 s. The caller should
    /// then [copy it](Self::copy_shared), because a small part may keep a large
    /// allocation alive. The time counts from the last progress, however often this
    /// is called.
    pub(super) async fn stalled(&self) {
        match self.shared_since {
            Some(since) => tokio::time::sleep_until(since + STALLED_AFTER).await,
            None => std::future::pending().await,
        }
    }

    /// Copies what waits, so that it keeps no shared memory alive.
    pub(super) fn copy_shared(&mut self) {
        let mut copy = BytesMut::with_capacity(self.bytes);
        self.chunks.drain(..).for_each(|chunk| copy.extend_from_slice(&chunk));
        self.chunks = VecDeque::from([copy.freeze()]);
        self.shared_since = None;
    }

    /// Takes everything that waits.
    pub(super) fn take(&mut self) -> Bytes {
        if !self.chunks.is_empty() {
            self.push(Bytes::new());
            self.copy_shared();
            self.bytes = 0;
            return self.chunks.pop_front().unwrap_or_default();
        }
        self.frames.split().freeze()
    }

    /// Sends what the socket takes now; returns whether that was anything.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn send(&mut self, transport: &Transport) -> io::Result<bool> {
        let before = self.len();
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let chunks = self.chunks.iter().map(|chunk| &**chunk).chain([&*self.frames]);
            let count = slices.iter_mut().zip(chunks).map(|(slice, chunk)| {
                *slice = IoSlice::new(chunk);
            });
            let count = count.count();
            match transport.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.advance(sent);
                    if self.shared_since.is_some() {
                        self.shared_since = (self.bytes > 0).then(Instant::now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.is_empty() {
            self.shrink();
        }
        Ok(self.len() < before)
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(first) = self.chunks.front_mut().filter(|_| sent > 0) {
            let part = sent.min(first.len());
            first.advance(part);
            self.bytes -= part;
            sent -= part;
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
        self.frames.advance(sent);
    }

    fn shrink(&mut self) {
        self.shared_since = None;
        if self.chunks.capacity() > SLICES_MAX {
            self.chunks = VecDeque::new();
        }
        // Makes the space of sent frames usable again.
        self.frames.clear();
        if self.frames.capacity() > KEPT_BYTES {
            self.frames = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::peer::testing::connected_pair;

    #[tokio::test]
    async fn chunks_and_frames_arrive_in_order_if_the_socket_takes_few_bytes_at_a_time() {
        let (mut peer, tcp) = connected_pair().await;
        let transport = Transport::from(tcp);
        let (mut send_queue, mut sent) = (SendQueue::default(), Vec::new());
        for number in 0..200u8 {
            let chunk = Bytes::from(vec![number; 70_000]);
            send_queue.frames().extend_from_slice(&[b'<', number]);
            send_queue.push(chunk.clone());
            send_queue.frames().extend_from_slice(b">");
            sent.extend([&[b'<', number][..], &chunk, b">"].concat());
        }
        assert_eq!(send_queue.len(), sent.len());
        let sending = async {
            while !send_queue.is_empty() {
                transport.writable().await.expect("it is there");
                let before = send_queue.len();
                let moved = send_queue.send(&transport).expect("it is there");
                assert_eq!(moved, send_queue.len() < before);
                send_queue.copy_shared();
            }
            transport.try_close_write().expect("it can");
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(sending, peer.read_to_end(&mut received));
        read.expect("no reset");
        assert!(received == sent);
    }

    #[tokio::test(start_paused = true)]
    async fn shared_memory_without_progress_counts_as_stalled_after_one_second() {
        // Each heartbeat of a consumer that read nothing once restarted the second.
        let (mut send_queue, begun) = (SendQueue::default(), Instant::now());
        send_queue.push(Bytes::from_static(b"a part of much"));
        let sign_of_life = STALLED_AFTER * 9 / 10;
        while tokio::time::timeout(sign_of_life, send_queue.stalled()).await.is_err() {
            assert!(begun.elapsed() < 3 * STALLED_AFTER, "it is kept for ever");
        }
        assert_eq!(begun.elapsed(), STALLED_AFTER);
        send_queue.copy_shared();
        let never = tokio::time::timeout(10 * STALLED_AFTER, send_queue.stalled()).await;
        assert!(never.is_err(), "it is its own");
    }

    #[test]
    fn take_returns_everything_in_order() {
        let mut send_queue = SendQueue::default();
        assert_eq!(send_queue.take(), "");
        send_queue.frames().extend_from_slice(b"a");
        assert_eq!(send_queue.take(), "a");
        send_queue.push(Bytes::from_static(b"b"));
        send_queue.frames().extend_from_slice(b"c");
        assert_eq!(send_queue.take(), "bc");
        assert!(send_queue.is_empty());
    }
}
