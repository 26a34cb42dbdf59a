//! [`ReceiveBuffer`]: what a producer has sent, read in large pieces and cut into
//! blocks without a copy.
//!
//! ```text
//! socket ─read─▶ buffer ─cut─▶ blocks ─▶ … ─▶ committed
//!                  └─ full ─▶ retired ─ no block left in it ─▶ buffer
//! ```
//!
//! Buffers are as large as there is use for: they grow while reads fill them, and
//! there is none while the connection is idle. All of them together are reserved
//! in the budget that every connection shares, before they are there.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use styx_protocol::frame::{self, Decoder, Event, Route};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::session::Error;
use crate::session::ProducerMemory;

/// The first buffer of a connection that begins to send.
const BUFFER_BYTES_MIN: usize = 8 << 10;
/// Under load. A block that is larger gets a buffer of its own size.
const BUFFER_BYTES_MAX: usize = 2 << 20;
/// Read at once, so that what is read is checked while the cache has it.
const READ_BYTES_MAX: usize = 256 << 10;
/// With less room than this a buffer is full.
const SPACE_BYTES_MIN: usize = 2 << 10;
/// Up to here there is room for a block because it says that it is so large.
const CLAIMED_BYTES_MAX: usize = BLOCK_RAW_BYTES_MAX + BLOCK_HEADER_BYTES;
/// For how long memory is kept while little comes.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// What a buffer may have for each byte in it when it rests.
const SPARE_FACTOR: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    decoder: Decoder,
    /// Bytes of the buffer that the decoder has.
    capacity: usize,
    /// Full ones, oldest first; blocks in them may still be on their way.
    retired: VecDeque<RetiredBuffer>,
    memory: ProducerMemory,
    /// What the next buffer has.
    buffer_bytes: usize,
    /// When a read last brought much.
    last_large_read: Instant,
}

#[derive(Debug)]
struct RetiredBuffer {
    bytes: BytesMut,
    capacity: usize,
}

/// What reading has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    WouldBlock,
    /// The peer sends no more.
    Closed,
}

impl ReceiveBuffer {
    /// Begins with what came along with the handshake.
    pub(super) fn new(
        record_bytes_max: u64,
        memory: ProducerMemory,
        received: &Bytes,
    ) -> ReceiveBuffer {
        let mut decoder = Decoder::new(Route::ProducerToServer, record_bytes_max);
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

    /// The next thing that the producer has said; `None` when more has to be
    /// read first.
    ///
    /// # Errors
    /// It is none of what a producer may say.
    pub(super) fn next(&mut self) -> Result<Option<Event>, frame::Error> {
        self.decoder.next()
    }

    /// To be asked when nothing more comes.
    ///
    /// # Errors
    /// A frame was cut.
    pub(super) fn finish(&self) -> Result<(), frame::Error> {
        self.decoder.finish()
    }

    /// The server's memory that it holds.
    pub(super) fn memory(&mut self) -> &mut ProducerMemory {
        &mut self.memory
    }

    /// Whether a part of something is here that has yet to come whole.
    pub(super) fn has_partial_frame(&mut self) -> bool {
        !self.decoder.buffer().is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.capacity + self.retired.iter().map(|retired| retired.capacity).sum::<usize>()
    }

    /// What a new buffer has to hold; `None` while there is room in the one at hand.
    fn next_buffer_bytes(&mut self) -> Option<usize> {
        let buffer = self.decoder.buffer();
        let filled = buffer.len();
        if buffer.capacity() - filled >= SPACE_BYTES_MIN {
            return None;
        }
        // A block of the usual size gets its room at once, so that who waits for it
        // holds little; one that announces itself as huge gets its own as it comes.
        let believed = self.buffer_bytes.max(filled).max(CLAIMED_BYTES_MAX);
        let missing = self.decoder.missing().min(believed);
        Some(self.buffer_bytes.max(filled + missing + SPACE_BYTES_MIN))
    }

    /// Makes room to read into, if memory for it can be had at once; says whether
    /// there is room now.
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

    /// Waits for memory to make room with, after which it is asked for again.
    ///
    /// # Errors
    /// As of [`Memory::reserve`].
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

    /// A retired buffer of this size that nobody needs any more. Smaller ones are
    /// let go, and those that a huge record needed.
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

    /// Reads once, into the room that was made.
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

    /// When it is to [rest](Self::rest), if it holds anything: a while after much
    /// came last, whatever little came since.
    pub(super) fn shrinks_at(&self) -> Option<Instant> {
        (self.held_bytes() > 0).then(|| self.last_large_read + SHRINK_AFTER)
    }

    /// Lets go of memory that is not needed while little comes; what has come
    /// stays.
    pub(super) fn shrink(&mut self) {
        self.buffer_bytes = BUFFER_BYTES_MIN;
        self.retired.clear();
        let buffer = self.decoder.buffer();
        if buffer.len() * SPARE_FACTOR <= self.capacity {
            // Not all of it is kept for the sake of a little.
            *buffer = BytesMut::from(&**buffer);
            self.capacity = buffer.capacity();
        }
        self.memory.shrink_to(self.capacity);
        self.last_large_read = Instant::now();
    }

    /// Lets go of everything: nothing more is taken.
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
    use tokio::net::TcpListener;

    use super::*;
    use crate::session::RequestBudget;

    const BUDGET_BYTES: usize = 64 << 20;

    fn block(number: usize, payload_bytes: usize) -> Bytes {
        let payload = vec![u8::try_from(number % 251).expect("small"); payload_bytes];
        build(&Records::one(&payload), Origin::default())
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (peer.expect("connect"), accepted.expect("accept").0)
    }

    /// Blocks of these sizes come out as they were sent, while the last `kept` of
    /// them are on their way; says how much memory that took at most.
    async fn check(sizes: &[usize], kept: usize) -> usize {
        let (mut peer, tcp) = pair().await;
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
    async fn few_small_blocks_take_one_small_buffer() {
        assert!(check(&[100; 10], 10).await <= BUFFER_BYTES_MIN);
    }

    #[tokio::test]
    async fn buffers_are_used_again_once_their_blocks_are_gone() {
        let most = check(&[60_000; 1000], 8).await;
        assert!(most <= 3 * BUFFER_BYTES_MAX, "60 MB took {most} bytes at a time");
    }

    #[tokio::test]
    async fn any_sizes_come_whole_in_bounded_memory() {
        let sizes: Vec<_> = (0..2000).map(|i| (i * i * 7919) % 40_000).collect();
        let most = check(&sizes, 30).await;
        assert!(most <= 4 * BUFFER_BYTES_MAX, "{most} bytes at a time");
        let _ = check(&sizes, 0).await;
    }

    #[tokio::test]
    async fn a_huge_block_gets_room_as_it_comes_and_leaves_none_behind() {
        let mut sizes = vec![20 << 20];
        sizes.extend([1000; 5000]);
        let most = check(&sizes, 1).await;
        assert!((20 << 20..=BUDGET_BYTES).contains(&most), "{most} bytes at a time");
    }

    #[tokio::test(start_paused = true)]
    async fn large_buffers_are_given_back_while_little_comes_however_often() {
        // Who sent a heartbeat every 0.9 seconds kept megabytes for ever.
        let (mut peer, tcp) = pair().await;
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
        // The beginning of a frame is kept, and the buffer in which it lay is not.
        assert!(
            receive_buffer.has_partial_frame() && receive_buffer.held_bytes() < 1 << 10,
            "{}",
            receive_buffer.held_bytes()
        );
        assert_eq!(budget.bytes(), receive_buffer.held_bytes());
    }
}
