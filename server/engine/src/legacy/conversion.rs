//! The conversion of 0.x segments to a log, for archives and directories alike.
//!
//! Segments are passed in order. Invariant: each begins at the position and the offset at which
//! the one before it ended, so a missing or truncated segment is detected. Each becomes a
//! segment with the time from its name, so that retention continues as before.

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

/// See the module.
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
    /// The position that the name of the next segment must contain.
    position: Position,
    offset: u64,
    last: SegmentName,
}

impl Conversion {
    /// Begins with the `size` bytes of `config`. `directory` contains an empty generation's folder.
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
            let message = format!("it has {size} bytes instead of {}", config::BYTES);
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

    /// Converts the next segment, of `size` bytes. `tell` is called with the number of bytes read.
    pub(super) fn segment(
        &mut self,
        name: SegmentName,
        size: u64,
        from: &mut dyn Read,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), ConversionError> {
        let record_bytes_max = u64::try_from(self.config.max_record_size).unwrap_or(0);
        let mut scan = Scan::new(name.records(), name.position, record_bytes_max);
        // A clock that was ahead must not determine the time of later appends.
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
            scan.more(&self.buffer[..read], &mut in_progress.writer)?;
            at += read as u64;
            tell(at);
        }
        in_progress.position = scan.end()?;
        in_progress.offset = name.offset.saturating_add(size);
        in_progress.last = name;
        Ok(())
    }

    /// The position after the last record so far.
    pub(super) fn position(&self) -> Position {
        self.in_progress.as_ref().map_or(Position::ORIGIN, |in_progress| in_progress.position)
    }

    /// Makes the log durable, except for the manifest, which the caller writes. Without a segment
    /// the log is empty. Returns its first position and its end.
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
    /// Whether a segment with this name comes next.
    fn check(&self, name: SegmentName) -> Result<(), String> {
        let expected = (self.position, self.offset);
        if name <= self.last {
            return Err("it comes out of order".into());
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
