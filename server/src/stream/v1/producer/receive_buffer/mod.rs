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
use styx_protocol::Code;
use styx_protocol::frame::{self, Event, FrameDecoder, Route};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX};
use tokio::time::Instant;

use crate::session::Error;
use crate::session::ProducerMemory;
use crate::transport::Transport;

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
        // connection that waits for it holds little. A huge one gets it as it arrives:
        // an eighth, a quarter, half, then all of its size. A part is moved to the next
        // buffer before that has more bytes, so both together have at most its size.
        let believed = filled + self.buffer_bytes.max(filled).max(CLAIMED_BYTES_MAX);
        let mut wanted = filled + self.decoder.missing();
        while wanted > believed {
            wanted = wanted.div_ceil(2);
        }
        Some(self.buffer_bytes.max(wanted.max(filled) + SPACE_BYTES_MIN))
    }

    /// Checks that the block that is arriving can ever fit the memory of all requests. Call
    /// it after [`next`](Self::next) has returned `None`.
    ///
    /// # Errors
    /// `record_too_large`.
    pub(super) fn check_partial_frame(&mut self) -> Result<(), Error> {
        let bytes = self.decoder.buffer().len() + self.decoder.missing();
        self.memory.check_record(bytes)
    }

    /// Reserves memory to decompress a block to `raw_bytes`, if that is more than a block
    /// usually has.
    ///
    /// # Errors
    /// `record_too_large` if it can never be reserved, `overloaded` if it cannot be now.
    pub(super) fn reserve_to_decompress(
        &mut self,
        block_bytes: usize,
        raw_bytes: usize,
    ) -> Result<(), Error> {
        if raw_bytes <= BLOCK_RAW_BYTES_MAX {
            return Ok(());
        }
        self.memory.check_record(block_bytes + raw_bytes)?;
        match self.memory.try_reserve(self.held_bytes() + raw_bytes) {
            true => Ok(()),
            false => Err(Error::new(
                Code::Overloaded,
                "there is no memory to decompress this record now (max_in_flight_bytes); \
                 send it again later",
            )),
        }
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
        if capacity == 0 {
            return;
        }
        let mut retired = RetiredBuffer { bytes, capacity };
        // The part of a huge record was moved: nothing else is in its last buffer.
        let is_growing = self.capacity > BUFFER_BYTES_MAX;
        if is_growing && retired.is_unused() {
            return;
        }
        self.retired.push_back(retired);
    }

    /// A retired buffer of this size whose blocks are gone. Smaller ones are freed,
    /// and so are those of huge records.
    fn reclaim(&mut self, wanted: usize) -> Option<RetiredBuffer> {
        while let Some(mut oldest) = self.retired.pop_front() {
            if !oldest.is_unused() {
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
    pub(super) fn read(&mut self, transport: &Transport) -> io::Result<ReadOutcome> {
        let buffer = self.decoder.buffer();
        let room = (buffer.capacity() - buffer.len()).min(READ_BYTES_MAX);
        match transport.try_read_buf(&mut buffer.limit(room)) {
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

impl RetiredBuffer {
    /// Whether no block is left in it.
    fn is_unused(&mut self) -> bool {
        self.bytes.clear();
        self.bytes.try_reclaim(self.capacity)
    }
}

#[cfg(test)]
mod tests;
