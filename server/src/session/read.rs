//! [`RecordReader`]: reads a log for a request, batch by batch.
//!
//! ```text
//! next() → reserve memory → from memory or the page cache → batch
//!                         ↘ needs the disk → a blocking thread ↗
//!                         ↘ needs the object store → free the memory, wait without a thread ↗
//! ```
//!
//! Between two batches it holds only the engine's cursor, so a slow or waiting
//! reader costs almost no memory.

use std::time::Duration;

use styx_engine::{Batch, Found, Reader, Record, Seek};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, BLOCK_RAW_BYTES_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{Code, Position, ReadParams, Whence};

use super::pause::Pause;
use super::reading::Reading;
use super::store::fetched;
use super::{ChunkReservation, Error, FollowedBy, OpenLog, ResponseChunks, blocking};
use crate::limits::{Direction, LOOK_AFTER, Meter, Part};

/// See the module.
#[derive(Debug)]
pub(crate) struct RecordReader {
    /// `None` while a blocking thread reads, and forever if that panicked.
    reader: Option<Reader>,
    reading: Reading,
    pause: Pause,
    batch_bytes_max: usize,
    /// How often a large record is in memory while it is sent.
    copies: usize,
    meter: Meter,
}

/// A block that needs more memory is one large record.
pub(super) const BLOCK_BYTES_MAX: usize = 2 * BLOCK_RAW_BYTES_MAX + BLOCK_HEADER_BYTES;

impl OpenLog {
    /// The position at which a read with these parameters begins.
    pub(crate) async fn seek(&self, params: &ReadParams) -> Result<Position, Error> {
        let seek = match params.whence {
            Whence::Origin => Seek::Origin(params.position),
            Whence::Start => Seek::Start(params.position),
            Whence::End => Seek::End(params.position),
            Whence::Time => {
                let time = u64::try_from(params.position).unwrap_or(0);
                return self.seek_time(time).await;
            }
        };
        Ok(self.log.seek(seek)?)
    }

    async fn seek_time(&self, time_us: u64) -> Result<Position, Error> {
        let mut kept = None;
        loop {
            let log = self.log.clone();
            let found = blocking(move || log.find(Seek::Time(time_us))).await;
            drop(kept.take());
            match found? {
                Found::Some(position) => return Ok(position),
                Found::NeedsStore(fetch) => kept = Some(fetched(fetch).await?),
                Found::AtEnd | Found::NeedsDisk => return Err(interrupted()),
            }
        }
    }

    /// The record at this position; `None` at the end of the log. If it is larger than a
    /// block, it comes with the memory that it counts against.
    ///
    /// # Errors
    /// As [`RecordReader::next`].
    pub(crate) async fn record(
        &self,
        position: Position,
        response: &ResponseChunks,
    ) -> Result<Option<(Record, Option<ChunkReservation>)>, Error> {
        let mut reader = self.log.reader(position)?;
        reader.set_block_bytes_max(BLOCK_BYTES_MAX);
        let mut chunk = None;
        loop {
            let mut found = reader.try_record();
            if matches!(found, Ok(Found::NeedsDisk)) {
                let read = move || {
                    let found = reader.record();
                    Ok((found, reader))
                };
                (found, reader) = blocking(read).await?;
            }
            match found {
                Err(styx_engine::Error::NeedsMemory { bytes, .. }) => {
                    chunk = Some(response.reserve_record(bytes, 1).await?);
                    reader.set_block_bytes_max(bytes);
                }
                Ok(Found::Some(record)) => {
                    self.log.count_read(1, (record.payload.len() + RECORD_HEADER_BYTES) as u64);
                    return Ok(Some((record, chunk)));
                }
                Ok(Found::NeedsStore(fetch)) => {
                    drop(chunk.take());
                    reader.set_block_bytes_max(BLOCK_BYTES_MAX);
                    reader.keep(fetched(fetch).await?);
                }
                Ok(Found::AtEnd | Found::NeedsDisk) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins to read many records, in batches of about `batch_bytes_max`.
    pub(crate) fn read(
        &self,
        from: Position,
        batch_bytes_max: usize,
    ) -> Result<RecordReader, Error> {
        let mut reader = self.log.reader(from)?;
        reader.set_block_bytes_max(BLOCK_BYTES_MAX);
        Ok(RecordReader {
            reader: Some(reader),
            reading: Reading::new(&self.log, &self.followers, from),
            pause: Pause::default(),
            batch_bytes_max,
            copies: 1,
            meter: self.meter.clone(),
        })
    }
}

impl RecordReader {
    /// The same reader, for a caller that copies each record `copies - 1` times to send it.
    pub(crate) fn with_copies(self, copies: usize) -> RecordReader {
        RecordReader { copies, ..self }
    }

    /// The same reader, listed as a follower of its log if there is one.
    pub(crate) fn followed_by(mut self, by: Option<FollowedBy>) -> RecordReader {
        if let Some(by) = by {
            self.reading.follow(by);
        }
        self
    }

    /// The next records for a response, with memory for them; `None` at the durable
    /// end. Blocks are read whole, so the batch may be larger than the memory allows.
    /// A caller that uses only a part of it [goes back](Self::go_back_to) to the rest.
    /// Cancelling it ends the reading.
    ///
    /// # Errors
    /// Those of the engine, and of [`ResponseChunks::reserve_record`] for a record that is
    /// larger than a block.
    pub(crate) async fn next(
        &mut self,
        response: &ResponseChunks,
    ) -> Result<Option<(Batch, ChunkReservation)>, Error> {
        self.meter.allowed(Direction::Read).await;
        if let Some(time) = self.reader.as_ref().and_then(|reader| self.pause.due(reader)) {
            tokio::time::sleep(time).await;
        }
        loop {
            let mut chunk = response.reserve(self.meter.part_bytes(self.batch_bytes_max)).await;
            let mut read = self.read(chunk.bytes()).await?;
            if let Err(styx_engine::Error::NeedsMemory { bytes, .. }) = read {
                drop(chunk);
                chunk = response.reserve_record(bytes, self.copies).await?;
                self.cursor()?.set_block_bytes_max(bytes);
                // One byte: only this record.
                read = self.read(1).await?;
                self.cursor()?.set_block_bytes_max(BLOCK_BYTES_MAX);
            }
            match read? {
                Found::Some(batch) => {
                    self.reading.took(batch.next(), batch.len_bytes() as u64);
                    self.pause.took(batch.len_bytes() as u64);
                    return Ok(Some((batch, chunk)));
                }
                Found::AtEnd => return Ok(None),
                Found::NeedsStore(fetch) => {
                    drop(chunk);
                    let kept = fetched(fetch).await?;
                    self.cursor()?.keep(kept);
                }
                Found::NeedsDisk => return Err(interrupted()),
            }
        }
    }

    /// How long [`next`](Self::next) would wait now because of a limit.
    pub(crate) fn limited(&self) -> Option<Duration> {
        self.meter.delay(Direction::Read, Part::Bytes).map(|delay| delay.min(LOOK_AFTER))
    }

    /// Counts bytes that are sent.
    pub(crate) fn charge(&self, bytes: usize) {
        self.meter.charge(Direction::Read, bytes, 0);
    }

    async fn read(
        &mut self,
        bytes_max: usize,
    ) -> Result<Result<Found<Batch>, styx_engine::Error>, Error> {
        let found = self.cursor()?.try_read(bytes_max);
        if !matches!(found, Ok(Found::NeedsDisk)) {
            return Ok(found);
        }
        let mut reader = self.reader.take().ok_or_else(interrupted)?;
        let (read, reader) = blocking(move || Ok((reader.read(bytes_max), reader))).await?;
        self.reader = Some(reader);
        Ok(read)
    }

    /// Continues from a position that was read already.
    pub(crate) fn go_back_to(&mut self, position: Position) -> Result<(), Error> {
        self.cursor()?.go_back_to(position);
        self.reading.back_to(position);
        Ok(())
    }

    /// Waits until there is something to read, or until `at_most` has passed; returns
    /// whether there is.
    pub(crate) async fn wait(&mut self, at_most: Option<Duration>) -> Result<bool, Error> {
        self.reading.settle();
        let more = self.cursor()?.wait();
        Ok(match at_most {
            Some(at_most) => tokio::time::timeout(at_most, more).await.is_ok(),
            None => {
                more.await;
                true
            }
        })
    }

    fn cursor(&mut self) -> Result<&mut Reader, Error> {
        self.reader.as_mut().ok_or_else(interrupted)
    }
}

fn interrupted() -> Error {
    Error::new(Code::UnknownError, "an earlier failure ended this read; start it again")
}
