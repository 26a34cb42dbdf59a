//! [`ReceiveBuffer`]: reads a producer's bytes in large pieces and cuts them into
//! blocks without a copy.
//!
//! ```text
//! socket ─read─▶ buffer ─cut─▶ blocks ─▶ … ─▶ committed
//!                  └─ full ─▶ retired ─ no block left in it ─▶ buffer
//! ```
//!
//! Buffers grow while reads fill them, and an idle connection has none. Memory for
//! all of them is reserved in the request budget before they are allocated.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use styx_protocol::frame::{self, Event, FrameDecoder, Route};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::session::Error;
use crate::session::ProducerMemory;

/// The first buffer of a connection that starts to send.
const BUFFER_BYTES_MIN: usize = 8 << 10;
/// The buffer under load. A larger block gets a buffer of its own size.
const BUFFER_BYTES_MAX: usize = 2 << 20;
/// Bytes read at once: few enough to be checked while they are in the CPU cache.
const READ_BYTES_MAX: usize = 256 << 10;
/// A buffer with less free space than this is full.
const SPACE_BYTES_MIN: usize = 2 << 10;
/// The most space that a block gets because of the length that it claims.
const CLAIMED_BYTES_MAX: usize = BLOCK_RAW_BYTES_MAX + BLOCK_HEADER_BYTES;
/// How long memory is kept while little arrives.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// An idle buffer may have this many times the capacity of its contents.
const SPARE_FACTOR: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    decoder: FrameDecoder,
    /// Capacity of the decoder's buffer.
    capacity: usize,
    /// Full buffers, oldest first; blocks in them may still be in flight.
    retired: VecDeque<RetiredBuffer>,
    memory: ProducerMemory,
    /// Capacity of the next buffer.
    buffer_bytes: usize,
    /// When a read last brought many bytes.
    last_large_read: Instant,
}

#[derive(Debug)]
struct RetiredBuffer {
    bytes: BytesMut,
    capacity: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing can be read now.
    WouldBlock,
    /// The peer has closed its side.
    Closed,
}

impl ReceiveBuffer {
    /// Starts with the bytes that arrived with the handshake.
    pub(super) fn new(
        record_bytes_max: u64,
        memory: ProducerMemory,
        received: &Bytes,
    ) -> ReceiveBuffer {
        let mut decoder = FrameDecoder::new(Route::ProducerToServer, record_bytes_max);
        decoder.push(received);
        ReceiveBuffer {
            capacity: decoder.buffer().capacity(),
            decoder,
            retired: VecDeque::new(),
            memory,
            buffer_bytes: BUFFER_BYTES_MIN,
            last_large_read: Instant::now(),
        }
    }

    /// The next frame of the producer; `None` if more has to be read first.
    ///
    /// # Errors
    /// A producer may not send it.
    pub(super) fn next(&mut self) -> Result<Option<Event>, frame::Error> {
        self.decoder.next()
    }

    /// Call it when nothing more arrives.
    ///
    /// # Errors
    /// The last frame is incomplete.
    pub(super) fn finish(&self) -> Result<(), frame::Error> {
        self.decoder.finish()
    }

    /// The memory reserved for it.
    pub(super) fn memory(&mut self) -> &mut ProducerMemory {
        &mut self.memory
    }

    /// Whether it holds a part of a frame.
    pub(super) fn has_partial_frame(&mut self) -> bool {
        !self.decoder.buffer().is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.capacity + self.retired.iter().map(|retired| retired.capacity).sum::<usize>()
    }

    /// The capacity of the next buffer; `None` while the current one has space.
    fn next_buffer_bytes(&mut self) -> Option<usize> {
        let buffer = self.decoder.buffer();
        let filled = buffer.len();
        if buffer.capacity() - filled >= SPACE_BYTES_MIN {
            return None;
        }
        // A block of the usual size gets all of its space at once, so that a
        // connection that waits for it holds little. A huge one gets it as it arrives.
        let believed = self.buffer_bytes.max(filled).max(CLAIMED_BYTES_MAX);
        let missing = self.decoder.missing().min(believed);
        Some(self.buffer_bytes.max(filled + missing + SPACE_BYTES_MIN))
    }

    /// Makes space to read into if memory is free now; returns whether there is space.
    pub(super) fn ensure_space(&mut self) -> bool {
        let Some(wanted) = self.next_buffer_bytes() else { return true };
        let fresh = match self.reclaim(wanted) {
            Some(reclaimed) => reclaimed,
            None if self.memory.try_reserve(self.held_bytes() + wanted) => {
                RetiredBuffer { bytes: BytesMut::with_capacity(wanted), capacity: wanted }
            }
            None => return false,
        };
        self.switch_to(fresh);
        true
    }

    /// Waits for memory for more space; call [`ensure_space`](Self::ensure_space)
    /// after it.
    ///
    /// # Errors
    /// As [`ProducerMemory::reserve`].
    pub(super) async fn wait_for_memory(&mut self) -> Result<(), Error> {
        let Some(wanted) = self.next_buffer_bytes() else { return Ok(()) };
        self.memory.reserve(self.held_bytes() + wanted).await
    }

    fn switch_to(&mut self, mut fresh: RetiredBuffer) {
        fresh.bytes.extend_from_slice(self.decoder.buffer());
        let bytes = std::mem::replace(self.decoder.buffer(), fresh.bytes);
        let capacity = std::mem::replace(&mut self.capacity, fresh.capacity);
        if capacity > 0 {
            self.retired.push_back(RetiredBuffer { bytes, capacity });
        }
    }

    /// A retired buffer of this size whose blocks are gone. Smaller ones are freed,
    /// and so are those of huge records.
    fn reclaim(&mut self, wanted: usize) -> Option<RetiredBuffer> {
        while let Some(mut oldest) = self.retired.pop_front() {
            oldest.bytes.clear();
            if !oldest.bytes.try_reclaim(oldest.capacity) {
                self.retired.push_front(oldest);
                return None;
            }
            if (wanted..=wanted.max(BUFFER_BYTES_MAX)).contains(&oldest.capacity) {
                return Some(oldest);
            }
        }
        None
    }

    /// Reads once, into the space that was made.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn read(&mut self, tcp: &TcpStream) -> io::Result<ReadOutcome> {
        let buffer = self.decoder.buffer();
        let room = (buffer.capacity() - buffer.len()).min(READ_BYTES_MAX);
        match tcp.try_read_buf(&mut buffer.limit(room)) {
            Ok(0) => Ok(ReadOutcome::Closed),
            Ok(count) => {
                if count == room {
                    self.buffer_bytes = (self.buffer_bytes * 2).min(BUFFER_BYTES_MAX);
                }
                if count == room || count >= BUFFER_BYTES_MIN {
                    self.last_large_read = Instant::now();
                }
                Ok(ReadOutcome::Bytes(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadOutcome::WouldBlock),
            Err(error) => Err(error),
        }
    }

    /// When to [shrink](Self::shrink) it, if it holds memory: a while after the last
    /// large read, whatever small reads followed.
    pub(super) fn shrinks_at(&self) -> Option<Instant> {
        (self.held_bytes() > 0).then(|| self.last_large_read + SHRINK_AFTER)
    }

    /// Frees memory that is not needed while little arrives, and keeps the bytes.
    pub(super) fn shrink(&mut self) {
        self.buffer_bytes = BUFFER_BYTES_MIN;
        self.retired.clear();
        let buffer = self.decoder.buffer();
        if buffer.len() * SPARE_FACTOR <= self.capacity {
            // A few bytes must not keep a large buffer.
            *buffer = BytesMut::from(&**buffer);
            self.capacity = buffer.capacity();
        }
        self.memory.shrink_to(self.capacity);
        self.last_large_read = Instant::now();
    }

    /// Frees everything: nothing more is received.
    pub(super) fn end(&mut self) {
        self.decoder.buffer().clear();
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use styx_protocol::Records;
    use styx_protocol::block::{Origin, build};
    use styx_protocol::frame::blocks_header;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::peer::testing::connected_pair;
    use crate::session::RequestBudget;

    const BUDGET_BYTES: usize = 64 << 20;

    fn block(number: usize, payload_bytes: usize) -> Bytes {
        let payload = vec![u8::try_from(number % 251).expect("small"); payload_bytes];
        build(&Records::one(&payload), Origin::default())
    }

    /// Checks that blocks of these sizes arrive as they were sent while the last
    /// `kept` of them are in flight. Returns the most memory that this took.
    async fn check(sizes: &[usize], kept: usize) -> usize {
        let (mut peer, tcp) = connected_pair().await;
        let budget = RequestBudget::new(BUDGET_BYTES);
        let mut receive_buffer =
            ReceiveBuffer::new(1 << 30, ProducerMemory::new(budget.reservation()), &Bytes::new());
        assert_eq!(receive_buffer.held_bytes(), 0);
        let sending = async {
            for (number, size) in sizes.iter().enumerate() {
                let block = block(number, *size);
                let frame = [&blocks_header(block.len())[..], &block].concat();
                peer.write_all(&frame).await.expect("it is read");
            }
            peer.shutdown().await.expect("it can be closed");
        };
        let receiving = async {
            let (mut on_their_way, mut count, mut most) = (VecDeque::new(), 0, 0);
            loop {
                while let Some(event) = receive_buffer.next().expect("good frames") {
                    let Event::Block(found) = event else { panic!("{event:?}") };
                    assert_eq!(found, block(count, sizes[count]));
                    on_their_way.push_back(found);
                    count += 1;
                    if on_their_way.len() > kept {
                        on_their_way.pop_front();
                    }
                }
                tcp.readable().await.expect("it is there");
                assert!(receive_buffer.ensure_space(), "there is memory");
                most = most.max(receive_buffer.held_bytes());
                if receive_buffer.read(&tcp).expect("it is there") == ReadOutcome::Closed {
                    break;
                }
            }
            receive_buffer.finish().expect("no frame is cut");
            assert_eq!(count, sizes.len());
            most
        };
        let ((), most) = tokio::join!(sending, receiving);
        assert!(budget.bytes() >= receive_buffer.held_bytes());
        receive_buffer.shrink();
        assert_eq!((receive_buffer.held_bytes(), budget.bytes()), (0, 0));
        most
    }

    #[tokio::test]
    async fn few_small_blocks_use_one_small_buffer() {
        assert!(check(&[100; 10], 10).await <= BUFFER_BYTES_MIN);
    }

    #[tokio::test]
    async fn buffers_are_reused_after_their_blocks_are_gone() {
        let most = check(&[60_000; 1000], 8).await;
        assert!(most <= 3 * BUFFER_BYTES_MAX, "60 MB took {most} bytes at a time");
    }

    #[tokio::test]
    async fn blocks_of_all_sizes_arrive_in_bounded_memory() {
        let sizes: Vec<_> = (0..2000).map(|i| (i * i * 7919) % 40_000).collect();
        let most = check(&sizes, 30).await;
        assert!(most <= 4 * BUFFER_BYTES_MAX, "{most} bytes at a time");
        let _ = check(&sizes, 0).await;
    }

    #[tokio::test]
    async fn huge_block_gets_memory_as_it_arrives_and_frees_it_after() {
        let mut sizes = vec![20 << 20];
        sizes.extend([1000; 5000]);
        let most = check(&sizes, 1).await;
        assert!((20 << 20..=BUDGET_BYTES).contains(&most), "{most} bytes at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn large_buffers_are_freed_while_only_heartbeats_arrive() {
        // A producer that sent a heartbeat every 0.9 s once kept megabytes for ever.
        let (mut peer, tcp) = connected_pair().await;
        let budget = RequestBudget::new(BUDGET_BYTES);
        let mut receive_buffer =
            ReceiveBuffer::new(1 << 30, ProducerMemory::new(budget.reservation()), &Bytes::new());
        let large = block(0, 1 << 20);
        let sending = async {
            let frame = [&blocks_header(large.len())[..], &large].concat();
            peer.write_all(&frame).await.expect("it is read");
        };
        let receiving = async {
            while receive_buffer.next().expect("good frames").is_none() {
                tcp.readable().await.expect("it is there");
                assert!(receive_buffer.ensure_space(), "there is memory");
                let _ = receive_buffer.read(&tcp).expect("it is there");
            }
        };
        tokio::join!(sending, receiving);
        assert!(budget.bytes() >= 1 << 20);
        let begun = Instant::now();
        let mut beat = BytesMut::new();
        frame::encode_heartbeat(None, &mut beat);
        while receive_buffer.shrinks_at().is_some_and(|at| at > Instant::now()) {
            assert!(begun.elapsed() < 3 * SHRINK_AFTER, "they are kept for ever");
            tokio::time::advance(SHRINK_AFTER * 9 / 10).await;
            peer.write_all(&beat[..5]).await.expect("it is read");
            tcp.readable().await.expect("it is there");
            assert!(receive_buffer.ensure_space(), "there is memory");
            assert_eq!(receive_buffer.read(&tcp).expect("it is there"), ReadOutcome::Bytes(5));
        }
        receive_buffer.shrink();
        // The beginning of a frame is kept, but not the buffer that it was in.
        assert!(
            receive_buffer.has_partial_frame() && receive_buffer.held_bytes() < 1 << 10,
            "{}",
            receive_buffer.held_bytes()
        );
        assert_eq!(budget.bytes(), receive_buffer.held_bytes());
    }
}
