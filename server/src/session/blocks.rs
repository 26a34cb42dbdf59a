//! [`BlockReader`]: a log's blocks for front ends that send them whole: from
//! memory, or as a part of a file that the kernel sends.
//!
//! ```text
//! in memory ───────────────────────────────▶ parts, shared with the log's tail
//! in the file, every codec is accepted ────▶ a span, nothing is read
//! else ─▶ page cache, or blocking thread ──▶ parts ─▶ decompressed one by one if needed
//! in the object store ─▶ wait without a thread, then as above
//! ```
//!
//! A small compressed block may decompress to a large one, so no more is
//! decompressed at a time than is read at a time.

use std::collections::VecDeque;

use bytes::Bytes;
use styx_engine::{Blocks, Found, Reader, Span};
use styx_protocol::block::Block;
use styx_protocol::{Code, Codecs, Position};

use super::pause::Pause;
use super::read::BLOCK_BYTES_MAX;
use super::reading::Reading;
use super::store::fetched;
use super::{ChunkReservation, Error, FollowedBy, OpenLog, ResponseChunks, blocking};
use crate::limits::Direction;

/// Bytes of a file that are sent as one span: a quarter of the largest frame,
/// because no other frame can be sent to a consumer in the middle of one.
const SPAN_BYTES_MAX: usize = 4 << 20;

/// Which blocks to read, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockQuery {
    /// Read no block that begins at or after this position.
    pub(crate) until: Option<Position>,
    /// The codecs that bodies may have.
    pub(crate) codecs: Codecs,
    /// Bytes that are read at a time. A single block may be larger.
    pub(crate) bytes_max: usize,
}

/// Consecutive whole blocks.
#[derive(Debug)]
pub(crate) enum StoredBlocks {
    /// In memory; a part may end anywhere.
    Parts(Vec<Bytes>),
    /// In a file.
    Span(Span),
}

/// Reads a log block by block.
#[derive(Debug)]
pub(crate) struct BlockReader {
    log: OpenLog,
    /// `None` while a blocking thread reads, and forever if that panicked.
    reader: Option<Reader>,
    query: BlockQuery,
    position: Position,
    reading: Reading,
    pause: Pause,
    /// Blocks that were read and are still to be returned one by one.
    single: VecDeque<Block>,
    /// The memory of everything that was read and not yet sent.
    chunks: ResponseChunks,
    chunk: Option<ChunkReservation>,
    may_span: bool,
}

impl OpenLog {
    /// Begins to read at this position. Blocks are read whole, so the first may begin
    /// before it. They count against `chunks` until the next ones are read.
    pub(crate) fn read_blocks(
        &self,
        from: Position,
        query: BlockQuery,
        chunks: ResponseChunks,
    ) -> Result<BlockReader, Error> {
        let mut reader = self.log.reader(from)?;
        reader.set_block_bytes_max(BLOCK_BYTES_MAX);
        Ok(BlockReader {
            log: self.clone(),
            reader: Some(reader),
            query,
            position: from,
            reading: Reading::new(&self.log, &self.followers, from),
            pause: Pause::default(),
            single: VecDeque::new(),
            chunks,
            chunk: None,
            may_span: false,
        })
    }
}

impl BlockReader {
    /// The same reader, listed as a follower of its log if there is one.
    pub(crate) fn followed_by(mut self, by: Option<FollowedBy>) -> BlockReader {
        if let Some(by) = by {
            self.reading.follow(by);
        }
        self
    }

    /// The position at which the next blocks begin.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next blocks; call it after those before were sent. `None` at the durable
    /// end. Cancelling it ends the reading.
    ///
    /// # Errors
    /// Damage, retention, a log that is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredBlocks>, Error> {
        if !self.single.is_empty() {
            return self.next_of_single().map(Some);
        }
        self.sent();
        self.log.meter().allowed(Direction::Read).await;
        if let Some(time) = self.reader.as_ref().and_then(|reader| self.pause.due(reader)) {
            tokio::time::sleep(time).await;
        }
        let (found, chunk) = loop {
            let (found, chunk) = self.attempt().await?;
            match found {
                BlocksOrSpan::Blocks(Found::NeedsStore(fetch)) => {
                    drop(chunk);
                    let kept = fetched(fetch).await?;
                    self.cursor()?.keep(kept);
                }
                found => break (found, chunk),
            }
        };
        // The first blocks are checked, because the consumer may have found damage there.
        self.may_span = SPANS;
        match found {
            BlocksOrSpan::Span(span) => {
                self.position = span.next();
                self.reading.took(self.position, span.len());
                self.charge(usize::try_from(span.len()).unwrap_or(usize::MAX));
                Ok(Some(StoredBlocks::Span(span)))
            }
            BlocksOrSpan::Blocks(Found::Some(blocks)) => {
                self.chunk = Some(chunk);
                self.give(&blocks).map(Some)
            }
            BlocksOrSpan::Blocks(Found::AtEnd) => Ok(None),
            BlocksOrSpan::Blocks(Found::NeedsDisk | Found::NeedsStore(_)) => Err(interrupted()),
        }
    }

    /// Reads once, with memory for the result.
    async fn attempt(&mut self) -> Result<(BlocksOrSpan, ChunkReservation), Error> {
        let is_span_wanted = self.wants_span()?;
        let bytes_max = self.log.meter().part_bytes(self.query.bytes_max);
        let mut chunk = self.chunks.reserve(bytes_max).await;
        let mut found = self.read(chunk.bytes(), is_span_wanted).await?;
        if let Err(styx_engine::Error::NeedsMemory { bytes, .. }) = found {
            drop(chunk);
            chunk = self.chunks.reserve_record(bytes, 1).await?;
            self.cursor()?.set_block_bytes_max(bytes);
            // One byte: only this block.
            found = self.read(1, false).await?;
            self.cursor()?.set_block_bytes_max(BLOCK_BYTES_MAX);
        }
        Ok((found?, chunk))
    }

    /// Everything that was read was sent.
    pub(crate) fn sent(&mut self) {
        self.chunk = None;
        self.reading.settle();
    }

    /// Resolves when there is more to read or the log is gone.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        self.sent();
        self.cursor()?.wait().await;
        Ok(())
    }

    /// Whether the kernel can send the next blocks. If so, but they are read here nevertheless, the
    /// consumer checks them too.
    fn wants_span(&mut self) -> Result<bool, Error> {
        let end = self.log.end_position();
        let all = self.query.until.is_none_or(|until| until >= end);
        let any_codec = self.query.codecs == Codecs::ALL;
        let may_span = self.may_span && all && any_codec;
        let reader = self.cursor()?;
        reader.set_receiver_checks(may_span);
        Ok(may_span && !reader.reads_ahead() && !reader.reads_remote() && !reader.is_in_memory())
    }

    fn give(&mut self, blocks: &Blocks) -> Result<StoredBlocks, Error> {
        let until = self.query.until;
        let codecs = blocks.codecs();
        if codecs.common(self.query.codecs) == codecs
            && until.is_none_or(|until| blocks.next() <= until)
        {
            self.position = blocks.next();
            self.reading.took(self.position, blocks.len_bytes() as u64);
            self.charge(blocks.len_bytes());
            self.count(blocks.len_bytes());
            return Ok(StoredBlocks::Parts(blocks.parts().cloned().collect()));
        }
        let begins_before =
            |block: &&Block| until.is_none_or(|until| block.header().base_position < until.0);
        self.single = blocks.blocks().take_while(begins_before).cloned().collect();
        self.next_of_single()
    }

    /// Returns single blocks, with an accepted codec.
    fn next_of_single(&mut self) -> Result<StoredBlocks, Error> {
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while let Some(block) = self.single.front() {
            let header = block.header();
            let is_wanted = self.query.codecs.contains(header.codec);
            let body_bytes = if is_wanted { header.body_size } else { header.raw_size } as usize;
            if bytes > 0 && bytes + body_bytes > self.query.bytes_max {
                break;
            }
            bytes += body_bytes;
            let unpacked = match is_wanted {
                true => None,
                false => block.unpacked().map_err(|error| {
                    let message =
                        format!("cannot decompress a stored block: {error}; run styx verify");
                    Error::new(Code::CorruptRecord, message).with("position", header.base_position)
                })?,
            };
            let given = unpacked.as_ref().unwrap_or(block);
            parts.push(Bytes::copy_from_slice(&given.header().encode().0));
            parts.push(given.body().clone());
            self.position = Position(header.end_position());
            self.single.pop_front();
        }
        self.charge(bytes);
        if self.single.is_empty() {
            self.single = VecDeque::new();
        }
        self.reading.took(self.position, bytes as u64);
        let waiting: u64 = self.single.iter().map(|block| block.header().block_bytes()).sum();
        self.count(bytes + usize::try_from(waiting).unwrap_or(usize::MAX));
        Ok(StoredBlocks::Parts(parts))
    }

    fn count(&mut self, bytes: usize) {
        if let Some(chunk) = &mut self.chunk {
            chunk.resize(bytes);
        }
    }

    /// Reads the next blocks, or a span if one is wanted.
    async fn read(
        &mut self,
        bytes_max: usize,
        is_span_wanted: bool,
    ) -> Result<Result<BlocksOrSpan, styx_engine::Error>, Error> {
        if !is_span_wanted {
            let found = self.cursor()?.try_blocks(bytes_max);
            if !matches!(found, Ok(Found::NeedsDisk)) {
                return Ok(found.map(BlocksOrSpan::Blocks));
            }
        }
        let span_bytes_max = self.log.meter().part_bytes(SPAN_BYTES_MAX) as u64;
        self.on_a_thread(move |reader| {
            if is_span_wanted && let Some(span) = reader.span(span_bytes_max)? {
                return Ok(BlocksOrSpan::Span(span));
            }
            reader.blocks(bytes_max).map(BlocksOrSpan::Blocks)
        })
        .await
    }

    /// Counts bytes that are sent next.
    fn charge(&mut self, bytes: usize) {
        self.pause.took(bytes as u64);
        self.log.meter().charge(Direction::Read, bytes, 0);
    }

    async fn on_a_thread(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<BlocksOrSpan, styx_engine::Error> + Send + 'static,
    ) -> Result<Result<BlocksOrSpan, styx_engine::Error>, Error> {
        let mut reader = self.reader.take().ok_or_else(interrupted)?;
        let (read, reader) = blocking(move || Ok((read(&mut reader), reader))).await?;
        self.reader = Some(reader);
        Ok(read)
    }

    fn cursor(&mut self) -> Result<&mut Reader, Error> {
        self.reader.as_mut().ok_or_else(interrupted)
    }
}

enum BlocksOrSpan {
    Blocks(Found<Blocks>),
    Span(Span),
}

/// Whether the kernel can send files to sockets.
const SPANS: bool = cfg!(target_os = "linux");

fn interrupted() -> Error {
    Error::new(Code::UnknownError, "an earlier failure ended this read; start it again")
}
