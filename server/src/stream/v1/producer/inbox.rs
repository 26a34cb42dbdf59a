//! [`Inbox`]: what a producer has sent, read in large pieces and cut into
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

use bytes::{BufMut, Bytes, BytesMut};
use styx_protocol::frame::{self, Decoder, Event, Route};
use tokio::net::TcpStream;

use crate::session::{Error, Reservation};

/// The first buffer of a connection that begins to send.
const BUFFER_BYTES_MIN: usize = 8 << 10;
/// Under load. A block that is larger gets a buffer of its own size.
const BUFFER_BYTES_MAX: usize = 2 << 20;
/// Read at once, so that what is read is checked while the cache has it.
const READ_BYTES_MAX: usize = 256 << 10;
/// With less room than this a buffer is full.
const ROOM_BYTES_MIN: usize = 2 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    decoder: Decoder,
    /// Bytes of the buffer that the decoder has.
    capacity: usize,
    /// Full ones, oldest first; blocks in them may still be on their way.
    retired: VecDeque<Retired>,
    reservation: Reservation,
    /// What the next buffer has.
    buffer_bytes: usize,
}

#[derive(Debug)]
struct Retired {
    bytes: BytesMut,
    capacity: usize,
}

/// What reading has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Bytes.
    Some,
    /// Nothing for now.
    Nothing,
    /// The peer sends no more.
    End,
}

impl Inbox {
    /// Begins with what came along with the handshake.
    pub(super) fn new(record_bytes_max: u64, reservation: Reservation, received: &Bytes) -> Inbox {
        let mut decoder = Decoder::new(Route::ProducerToServer, record_bytes_max);
        decoder.push(received);
        Inbox {
            capacity: decoder.buffer().capacity(),
            decoder,
            retired: VecDeque::new(),
            reservation,
            buffer_bytes: BUFFER_BYTES_MIN,
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

    /// Whether it holds memory.
    pub(super) fn holds_memory(&self) -> bool {
        self.held_bytes() > 0
    }

    fn held_bytes(&self) -> usize {
        self.capacity + self.retired.iter().map(|retired| retired.capacity).sum::<usize>()
    }

    /// Makes room to read into, as soon as memory is free for it. Cancel safe.
    ///
    /// # Errors
    /// `overloaded` when that takes too long.
    pub(super) async fn make_room(&mut self) -> Result<(), Error> {
        let buffer = self.decoder.buffer();
        let filled = buffer.len();
        if buffer.capacity() - filled >= ROOM_BYTES_MIN {
            return Ok(());
        }
        // A block that announces itself as huge gets its room as it comes.
        let missing = self.decoder.missing().min(self.buffer_bytes.max(filled));
        let wanted = self.buffer_bytes.max(filled + missing + ROOM_BYTES_MIN);
        let mut fresh = match self.reclaim(wanted) {
            Some(reclaimed) => reclaimed,
            None => {
                self.reservation.grow_to(self.held_bytes() + wanted).await?;
                Retired { bytes: BytesMut::with_capacity(wanted), capacity: wanted }
            }
        };
        fresh.bytes.extend_from_slice(self.decoder.buffer());
        let bytes = std::mem::replace(self.decoder.buffer(), fresh.bytes);
        let capacity = std::mem::replace(&mut self.capacity, fresh.capacity);
        if capacity > 0 {
            self.retired.push_back(Retired { bytes, capacity });
        }
        Ok(())
    }

    /// A retired buffer of this size that nobody needs any more. Smaller ones are
    /// let go, and those that a huge record needed.
    fn reclaim(&mut self, wanted: usize) -> Option<Retired> {
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
    pub(super) fn read(&mut self, tcp: &TcpStream) -> io::Result<Heard> {
        let buffer = self.decoder.buffer();
        let room = (buffer.capacity() - buffer.len()).min(READ_BYTES_MAX);
        match tcp.try_read_buf(&mut buffer.limit(room)) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => {
                if count == room {
                    self.buffer_bytes = (self.buffer_bytes * 2).min(BUFFER_BYTES_MAX);
                }
                Ok(Heard::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Heard::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Lets go of memory that is not needed while nothing comes; what has come
    /// stays.
    pub(super) fn rest(&mut self) {
        self.buffer_bytes = BUFFER_BYTES_MIN;
        self.retired.clear();
        if self.decoder.buffer().is_empty() {
            *self.decoder.buffer() = BytesMut::new();
            self.capacity = 0;
        }
        self.reservation.shrink_to(self.capacity);
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
    use crate::session::InFlight;

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
        let budget = InFlight::new(BUDGET_BYTES);
        let mut inbox = Inbox::new(1 << 30, budget.reservation(), &Bytes::new());
        assert!(!inbox.holds_memory());
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
                while let Some(event) = inbox.next().expect("good frames") {
                    let Event::Block(found) = event else { panic!("{event:?}") };
                    assert_eq!(found, block(count, sizes[count]));
                    on_their_way.push_back(found);
                    count += 1;
                    if on_their_way.len() > kept {
                        on_their_way.pop_front();
                    }
                }
                tcp.readable().await.expect("it is there");
                inbox.make_room().await.expect("there is memory");
                most = most.max(inbox.held_bytes());
                if inbox.read(&tcp).expect("it is there") == Heard::End {
                    break;
                }
            }
            inbox.finish().expect("no frame is cut");
            assert_eq!(count, sizes.len());
            most
        };
        let ((), most) = tokio::join!(sending, receiving);
        assert!(budget.bytes() >= inbox.held_bytes());
        inbox.rest();
        assert_eq!((inbox.held_bytes(), budget.bytes()), (0, 0));
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
}
