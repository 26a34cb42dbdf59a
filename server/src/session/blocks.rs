//! [`BlockReading`]: a log's blocks as they are stored, for those who send them
//! on whole.

use bytes::Bytes;
use styx_protocol::block::{self, Header, Origin};
use styx_protocol::{Codecs, Position};

use super::{Error, OpenLog, Reading};

/// Whole blocks, in order.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Their bytes, cut anywhere.
    pub(crate) chunks: Vec<Bytes>,
}

/// A way through a log, block by block.
#[derive(Debug)]
pub(crate) struct BlockReading {
    reading: Reading,
    position: Position,
}

impl OpenLog {
    /// Begins to read at this position. Blocks are read whole: the first may
    /// begin before it. About `bytes_max` are read at a time.
    pub(crate) fn read_blocks(
        &self,
        from: Position,
        bytes_max: usize,
    ) -> Result<BlockReading, Error> {
        Ok(BlockReading { reading: self.read(from, bytes_max)?, position: from })
    }
}

impl BlockReading {
    /// The position that the next blocks go on with.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next blocks, packed by these codecs at most; `None` at the durable end.
    /// Cancelling it ends the reading.
    pub(crate) async fn next(&mut self, _codecs: Codecs) -> Result<Option<Blocks>, Error> {
        let Some(batch) = self.reading.next().await? else { return Ok(None) };
        let timestamp_us = batch.records().next().map_or(0, |record| record.timestamp_us);
        let mut chunks = Vec::new();
        for (first, records) in batch.blocks() {
            let built = block::build(records, Origin::default());
            let Ok((header, _)) = Header::decode(&built) else { continue };
            let header = Header { base_position: first.0, timestamp_us, ..header };
            chunks.push(Bytes::copy_from_slice(&header.encode().0));
            chunks.push(records.bytes().clone());
        }
        self.position = batch.next();
        Ok(Some(Blocks { chunks }))
    }

    /// Resolves when there is more to read, or the log is gone.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        self.reading.wait(None).await.map(|_| ())
    }
}
