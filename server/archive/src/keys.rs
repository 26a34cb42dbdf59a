//! The keys of an archive's objects.
//!
//! ```text
//! logs/<id>/manifest                 the register of a log
//! logs/<id>/<base>-<epoch>.seg       a segment file, byte for byte
//! logs/<id>/<base>-<epoch>.idx       its index
//! logs/<id>/<end>-<epoch>.producers  the producers at its end
//! logs/<id>/page-<base>-<epoch>      4,096 entries that no longer change
//! ```
//!
//! Positions have 20 digits and epochs 10, so listings are in order. Invariant: the bytes of a key
//! never change, except those of the manifest. Within one epoch, a segment is uploaded again with
//! the same bytes.

use styx_engine::archive::Entry;
use styx_protocol::{LogId, Position};

/// The folder of all logs.
pub const LOGS: &str = "logs";

/// The folder of a log.
pub fn folder(id: LogId) -> String {
    format!("{LOGS}/{id}")
}

/// The manifest of a log.
pub fn manifest(id: LogId) -> String {
    format!("{LOGS}/{id}/manifest")
}

/// The segment file of an entry.
pub fn segment(entry: &Entry) -> String {
    File::Segment { base: entry.base, epoch: entry.epoch }.key(entry.home)
}

/// The index of an entry.
pub fn index(entry: &Entry) -> String {
    File::Index { base: entry.base, epoch: entry.epoch }.key(entry.home)
}

/// The producers at the end of an entry. Not every entry has them.
pub fn producers(entry: &Entry) -> String {
    File::Producers { end: entry.end, epoch: entry.epoch }.key(entry.home)
}

/// An object of a log beside its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// A segment file.
    Segment {
        /// The position of its first record.
        base: Position,
        /// The epoch in which it was uploaded.
        epoch: u32,
    },
    /// The index of a segment.
    Index {
        /// The position of the segment's first record.
        base: Position,
        /// The epoch in which it was uploaded.
        epoch: u32,
    },
    /// The producers at the end of a segment.
    Producers {
        /// The position after the segment's last record.
        end: Position,
        /// The epoch in which it was uploaded.
        epoch: u32,
    },
    /// A page of entries.
    Page {
        /// The base of its first entry.
        base: Position,
        /// The epoch in which it was written.
        epoch: u32,
    },
}

impl File {
    /// The key of this object of a log.
    pub fn key(self, home: LogId) -> String {
        let folder = folder(home);
        match self {
            File::Segment { base, epoch } => format!("{folder}/{:020}-{epoch:010}.seg", base.0),
            File::Index { base, epoch } => format!("{folder}/{:020}-{epoch:010}.idx", base.0),
            File::Producers { end, epoch } => {
                format!("{folder}/{:020}-{epoch:010}.producers", end.0)
            }
            File::Page { base, epoch } => format!("{folder}/page-{:020}-{epoch:010}", base.0),
        }
    }

    /// The object with this name in the folder of a log. `None` for names that are not ours.
    pub fn parse(name: &str) -> Option<File> {
        let (stem, kind) = match name.strip_prefix("page-") {
            Some(stem) => (stem, "page"),
            None => name.split_once('.')?,
        };
        let (position, epoch) = stem.split_once('-')?;
        if (position.len(), epoch.len()) != (20, 10) {
            return None;
        }
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(position) || !digits(epoch) {
            return None;
        }
        let (position, epoch) = (Position(position.parse().ok()?), epoch.parse().ok()?);
        match kind {
            "seg" => Some(File::Segment { base: position, epoch }),
            "idx" => Some(File::Index { base: position, epoch }),
            "producers" => Some(File::Producers { end: position, epoch }),
            "page" => Some(File::Page { base: position, epoch }),
            _ => None,
        }
    }

    /// The epoch in which the object was written.
    pub fn epoch(self) -> u32 {
        match self {
            File::Segment { epoch, .. }
            | File::Index { epoch, .. }
            | File::Producers { epoch, .. }
            | File::Page { epoch, .. } => epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_and_those_of_others_are_not() {
        let (base, epoch) = (Position(u64::MAX), u32::MAX);
        for file in [
            File::Segment { base, epoch },
            File::Index { base: Position(0), epoch: 0 },
            File::Producers { end: Position(7), epoch: 1 },
            File::Page { base, epoch },
        ] {
            let key = file.key(LogId(1));
            let name = key.strip_prefix("logs/00000000000000000000000000000001/").expect(&key);
            assert_eq!(File::parse(name), Some(file));
        }
        for name in [
            "manifest",
            "x.seg",
            "00000000000000000000-0000000000.txt",
            "0000000000000000000-0000000000.seg",
            "+0000000000000000000-0000000000.seg",
            "99999999999999999999-0000000000.seg",
            "00000000000000000000-9999999999.seg",
        ] {
            assert_eq!(File::parse(name), None, "{name}");
        }
    }
}
