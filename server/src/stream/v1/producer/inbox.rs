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
    /// let go.
    fn reclaim(&mut self, wanted: usize) -> Option<Retired> {
        while let Some(mut oldest) = self.retired.pop_front() {
            oldest.bytes.clear();
            if !oldest.bytes.try_reclaim(oldest.capacity) {
                self.retired.push_front(oldest);
                return None;
            }
            if oldest.capacity >= wanted {
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
