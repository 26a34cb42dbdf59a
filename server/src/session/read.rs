//! [`RecordReader`]: reads a log for a request, batch by batch.
//!
//! ```text
//! next() → reserve memory → from memory or the page cache → batch
//!                         ↘ needs the disk → a blocking thread ↗
//! ```
//!
//! Between two batches it holds only the engine's cursor, so a slow or waiting
//! reader costs almost no memory.

use std::time::Duration;

use styx_engine::{Batch, Found, Reader, Record, Seek};
use styx_protocol::{Code, Position, ReadParams, Whence};

use super::{ChunkReservation, Error, OpenLog, ResponseChunks, blocking};

/// See the module.
#[derive(Debug)]
pub(crate) struct RecordReader {
    /// `None` while a blocking thread reads, and forever if that panicked.
    reader: Option<Reader>,
    batch_bytes_max: usize,
}

impl OpenLog {
    /// The position at which a read with these parameters begins.
    pub(crate) async fn seek(&self, params: &ReadParams) -> Result<Position, Error> {
        let seek = match params.whence {
            Whence::Origin => Seek::Origin(params.position),
            Whence::Start => Seek::Start(params.position),
            Whence::End => Seek::End(params.position),
            Whence::Time => {
                let time = u64::try_from(params.position).unwrap_or(0);
                let log = self.log.clone();
                return blocking(move || log.seek(Seek::Time(time))).await;
            }
        };
        Ok(self.log.seek(seek)?)
    }

    /// The record at this position; `None` at the end of the log.
    pub(crate) async fn record(&self, position: Position) -> Result<Option<Record>, Error> {
        let found = match self.log.try_record(position)? {
            Found::NeedsDisk => {
                let log = self.log.clone();
                blocking(move || log.record(position)).await?
            }
            found => found,
        };
        Ok(match found {
            Found::Some(record) => Some(record),
            Found::AtEnd | Found::NeedsDisk => None,
        })
    }

    /// Begins to read many records, in batches of about `batch_bytes_max`.
    pub(crate) fn read(
        &self,
        from: Position,
        batch_bytes_max: usize,
    ) -> Result<RecordReader, Error> {
        Ok(RecordReader { reader: Some(self.log.reader(from)?), batch_bytes_max })
    }
}

impl RecordReader {
    /// The next records for a response, with memory for them; `None` at the durable
    /// end. Blocks are read whole, so the batch may be larger than the memory allows.
    /// A caller that uses only a part of it [goes back](Self::go_back_to) to the rest.
    /// Cancelling it ends the reading.
    pub(crate) async fn next(
        &mut self,
        response: &ResponseChunks,
    ) -> Result<Option<(Batch, ChunkReservation)>, Error> {
        let chunk = response.reserve(self.batch_bytes_max).await;
        Ok(self.read(chunk.bytes()).await?.map(|batch| (batch, chunk)))
    }

    async fn read(&mut self, bytes_max: usize) -> Result<Option<Batch>, Error> {
        let mut found = self.cursor()?.try_read(bytes_max)?;
        if matches!(found, Found::NeedsDisk) {
            let mut reader = self.reader.take().ok_or_else(interrupted)?;
            let (read, reader) = blocking(move || Ok((reader.read(bytes_max), reader))).await?;
            self.reader = Some(reader);
            found = read?;
        }
        match found {
            Found::Some(batch) => Ok(Some(batch)),
            Found::AtEnd => Ok(None),
            Found::NeedsDisk => Err(interrupted()),
        }
    }

    /// Continues from a position that was read already.
    pub(crate) fn go_back_to(&mut self, position: Position) -> Result<(), Error> {
        self.cursor()?.go_back_to(position);
        Ok(())
    }

    /// Waits until there is something to read, or until `at_most` has passed; returns
    /// whether there is.
    pub(crate) async fn wait(&mut self, at_most: Option<Duration>) -> Result<bool, Error> {
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
