//! [`Conversion`]: converts the segments of a 0.x log, from an archive or from a directory.
//!
//! The caller passes the segments in order. Each becomes a segment whose records have the time in
//! its name, so retention by age continues as before. Invariant: each segment begins at the
//! position and the offset at which the one before it ended. So a missing or truncated segment is
//! detected.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogConfig, Position};

use super::config;
use super::error::{ConversionError, Damage};
use super::name::SegmentName;
use super::records::Scan;
use crate::Error;
use crate::backup::FOLDER;
use crate::rewrite::Writer;
use crate::storage::Storage;

const COPY_BYTES: usize = 256 << 10;

/// A log that is being converted.
#[derive(Debug)]
pub(super) struct Conversion {
    storage: Arc<dyn Storage>,
    directory: std::path::PathBuf,
    pub(super) config: LogConfig,
    pub(super) notes: Vec<String>,
    now_us: u64,
    in_progress: Option<InProgress>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct InProgress {
    writer: Writer,
    /// The position and offset that the name of the next segment must contain.
    position: Position,
    offset: u64,
    last: SegmentName,
}

impl Conversion {
    /// Starts a conversion with the configuration file, which has `size` bytes. `directory` is the
    /// log's new directory and contains the folder of an empty generation.
    pub(super) fn begin(
        storage: &Arc<dyn Storage>,
        directory: &Path,
        now_us: u64,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<Conversion, ConversionError> {
        let damage = |message: String| Damage {
            file: super::CONFIG.into(),
            offset: 0,
            position: Position::ORIGIN,
            message,
        };
        if size != config::BYTES as u64 {
            let message =
                format!("the configuration has {size} bytes instead of {}", config::BYTES);
            return Err(ConversionError::Damaged(damage(message)));
        }
        let mut bytes = [0; config::BYTES];
        from.read_exact(&mut bytes)
            .map_err(|error| ConversionError::Unreadable(damage(error.to_string()), error))?;
        let (config, notes) =
            config::decode(&bytes).map_err(|message| ConversionError::Damaged(damage(message)))?;
        Ok(Conversion {
            storage: Arc::clone(storage),
            directory: directory.to_owned(),
            config,
            notes,
            now_us,
            in_progress: None,
            buffer: vec![0; COPY_BYTES],
        })
    }

    /// Converts the next segment, which has `size` bytes. Calls `on_read` with the number of bytes
    /// read so far.
    pub(super) fn segment(
        &mut self,
        name: SegmentName,
        size: u64,
        from: &mut dyn Read,
        on_read: &mut dyn FnMut(u64),
    ) -> Result<(), ConversionError> {
        let record_bytes_max = u64::try_from(self.config.max_record_size).unwrap_or(0);
        let mut scan = Scan::new(name.records(), name.position, record_bytes_max);
        // Timestamps never decrease, so a time in the future would also set those of later appends.
        let timestamp_us = name.time_s.saturating_mul(1_000_000).min(self.now_us);
        let in_progress = match self.in_progress.take() {
            Some(mut before) => {
                before.check(name).map_err(|message| scan.damage(message))?;
                before.writer.roll(timestamp_us)?;
                self.in_progress.insert(before)
            }
            None => {
                let writer = self.writer(name.position, timestamp_us)?;
                let SegmentName { position, offset, .. } = name;
                self.in_progress.insert(InProgress { writer, position, offset, last: name })
            }
        };
        let mut at = 0;
        while at < size {
            let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match from.read(&mut self.buffer[..want]) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let read = read.map_err(|error| match scan.damage(error.to_string()) {
                ConversionError::Damaged(damage) => ConversionError::Unreadable(damage, error),
                other => other,
            })?;
            scan.feed(&self.buffer[..read], &mut in_progress.writer)?;
            at += read as u64;
            on_read(at);
        }
        in_progress.position = scan.end()?;
        in_progress.offset = name.offset.saturating_add(size);
        in_progress.last = name;
        Ok(())
    }

    /// The position after the last record that was converted.
    pub(super) fn position(&self) -> Position {
        self.in_progress.as_ref().map_or(Position::ORIGIN, |in_progress| in_progress.position)
    }

    /// Makes the log durable, except for its manifest, which the caller writes. If there was no
    /// segment, the log is empty. Returns the log's start position and end position.
    pub(super) fn finish(mut self) -> Result<(Position, Position), Error> {
        match self.in_progress.take() {
            Some(in_progress) => in_progress.writer.finish(),
            None => self.writer(Position::ORIGIN, 0)?.finish(),
        }
    }

    fn writer(&self, start: Position, timestamp_us: u64) -> Result<Writer, Error> {
        let folder = self.directory.join(FOLDER);
        Writer::begin(&self.storage, folder, self.config.index_after_size, start, timestamp_us)
    }
}

impl InProgress {
    /// Checks that a segment with this name comes next.
    fn check(&self, name: SegmentName) -> Result<(), String> {
        let expected = (self.position, self.offset);
        if name <= self.last {
            return Err("the segment is out of order".into());
        }
        if (name.position, name.offset) != expected {
            return Err(format!(
                "the segment before it ends at position {} and offset {}, so one is missing or cut off",
                self.position, self.offset
            ));
        }
        Ok(())
    }
}
