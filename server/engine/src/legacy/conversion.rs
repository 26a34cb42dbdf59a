//! The one path from 0.x segments to a log of ours, wherever they come from.
//!
//! Segments are handed over in their order. Invariant: each begins at the
//! position and the offset at which the one before it ended, so that a missing
//! or a cut one is noticed; each becomes a segment of ours with the time that
//! its name says, so that retention goes on as it would have.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogConfig, Position};

use super::config;
use super::name::SegmentName;
use super::records::Scan;
use crate::Error;
use crate::backup::FOLDER;
use crate::rewrite::Writer;
use crate::storage::Storage;

const COPY_BYTES: usize = 256 << 10;

/// Where a 0.x log is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// The file's name.
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) position: Position,
    pub(super) message: String,
}

/// Why a 0.x log was not converted.
#[derive(Debug)]
pub(super) enum Failed {
    Damaged(Damage),
    /// The source ended or broke here.
    Unreadable(Damage, io::Error),
    /// Nothing is wrong with it, but it cannot be done now.
    Refused(String),
    /// Our own side.
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Error(error)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Conversion {
    storage: Arc<dyn Storage>,
    directory: std::path::PathBuf,
    pub(super) config: LogConfig,
    pub(super) notes: Vec<String>,
    now_us: u64,
    under_way: Option<UnderWay>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct UnderWay {
    writer: Writer,
    /// What the next segment's name has to say.
    position: Position,
    offset: u64,
    last: SegmentName,
}

impl Conversion {
    /// Begins with the bytes of `config`, which has `size` of them; `directory`
    /// has an empty generation's folder.
    pub(super) fn begin(
        storage: &Arc<dyn Storage>,
        directory: &Path,
        now_us: u64,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<Conversion, Failed> {
        let damage = |message: String| Damage {
            file: super::CONFIG.into(),
            offset: 0,
            position: Position::ORIGIN,
            message,
        };
        if size != config::BYTES as u64 {
            let message = format!("it has {size} bytes instead of {}", config::BYTES);
            return Err(Failed::Damaged(damage(message)));
        }
        let mut bytes = [0; config::BYTES];
        from.read_exact(&mut bytes)
            .map_err(|error| Failed::Unreadable(damage(error.to_string()), error))?;
        let (config, notes) =
            config::decode(&bytes).map_err(|message| Failed::Damaged(damage(message)))?;
        Ok(Conversion {
            storage: Arc::clone(storage),
            directory: directory.to_owned(),
            config,
            notes,
            now_us,
            under_way: None,
            buffer: vec![0; COPY_BYTES],
        })
    }

    /// The next segment, of `size` bytes. `tell` hears how many were read.
    pub(super) fn segment(
        &mut self,
        name: SegmentName,
        size: u64,
        from: &mut dyn Read,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), Failed> {
        let record_bytes_max = u64::try_from(self.config.max_record_size).unwrap_or(0);
        let mut scan = Scan::new(name.records(), name.position, record_bytes_max);
        // A clock that was ahead must not date everything appended from now on.
        let timestamp_us = name.time_s.saturating_mul(1_000_000).min(self.now_us);
        let under_way = match self.under_way.take() {
            Some(mut before) => {
                before.check(name).map_err(|message| scan.damage(message))?;
                before.writer.roll(timestamp_us)?;
                self.under_way.insert(before)
            }
            None => {
                let writer = self.writer(name.position, timestamp_us)?;
                let SegmentName { position, offset, .. } = name;
                self.under_way.insert(UnderWay { writer, position, offset, last: name })
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
                Failed::Damaged(damage) => Failed::Unreadable(damage, error),
                other => other,
            })?;
            scan.more(&self.buffer[..read], &mut under_way.writer)?;
            at += read as u64;
            tell(at);
        }
        under_way.position = scan.end()?;
        under_way.offset = name.offset.saturating_add(size);
        under_way.last = name;
        Ok(())
    }

    /// The position after the last record so far.
    pub(super) fn position(&self) -> Position {
        self.under_way.as_ref().map_or(Position::ORIGIN, |under_way| under_way.position)
    }

    /// Makes the log durable, an empty one if there was no segment, but for the
    /// manifest, which is the caller's; says which positions it has.
    pub(super) fn finish(mut self) -> Result<(Position, Position), Error> {
        match self.under_way.take() {
            Some(under_way) => under_way.writer.finish(),
            None => self.writer(Position::ORIGIN, 0)?.finish(),
        }
    }

    fn writer(&self, start: Position, timestamp_us: u64) -> Result<Writer, Error> {
        let folder = self.directory.join(FOLDER);
        Writer::begin(&self.storage, folder, self.config.index_after_size, start, timestamp_us)
    }
}

impl UnderWay {
    /// Whether a segment of this name comes next.
    fn check(&self, name: SegmentName) -> Result<(), String> {
        let expected = (self.position, self.offset);
        if name <= self.last {
            return Err("it comes out of order".into());
        }
        if (name.position, name.offset) != expected {
            return Err(format!(
                "the segment before it ends at position {} and offset {}, so one is missing or cut",
                self.position, self.offset
            ));
        }
        Ok(())
    }
}
