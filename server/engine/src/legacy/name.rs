//! Parses and builds the file names of a 0.x log. The names of segments contain data that their
//! files do not contain.
//!
//! ```text
//! config
//! lock
//! segment-<position, 20 digits>-<offset>-<unix time>-records
//! segment-<position, 20 digits>-<offset>-<unix time>-index
//! ```
//!
//! Position and offset (in bytes) count from the log's creation. The time is when the segment was
//! created, in seconds since the Unix epoch. Invariant: a name that is parsed and built again is
//! the same name.

use styx_protocol::Position;

/// The name of the configuration file. It is the first entry of an archive.
pub(crate) const CONFIG: &str = "config";
const LOCK: &str = "lock";
/// 0.x stores positions and offsets as signed 64-bit numbers.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The values in a segment's name. They sort in the order of the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) position: Position,
    pub(super) offset: u64,
    pub(super) time_s: u64,
}

/// The kind of a file in a 0.x log, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegacyFileName {
    Config,
    Lock,
    Records(SegmentName),
    Index(SegmentName),
    Other,
}

impl SegmentName {
    pub(super) fn records(self) -> String {
        self.file("records")
    }

    pub(super) fn index(self) -> String {
        self.file("index")
    }

    fn file(self, kind: &str) -> String {
        let SegmentName { position, offset, time_s } = self;
        format!("segment-{:020}-{offset:020}-{time_s:020}-{kind}", position.0)
    }
}

pub(super) fn parse(name: &str) -> LegacyFileName {
    match name {
        CONFIG => return LegacyFileName::Config,
        LOCK => return LegacyFileName::Lock,
        _ => {}
    }
    let segment = || {
        let mut parts = name.strip_prefix("segment-")?.split('-');
        let mut number = || parts.next().and_then(digits);
        let (position, offset, time_s) = (number()?, number()?, number()?);
        let segment = SegmentName { position: Position(position), offset, time_s };
        let kind = parts.next()?;
        parts.next().is_none().then_some((segment, kind))
    };
    match segment() {
        Some((segment, "records")) => LegacyFileName::Records(segment),
        Some((segment, "index")) => LegacyFileName::Index(segment),
        _ => LegacyFileName::Other,
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip_and_others_are_rejected() {
        let name = SegmentName { position: Position(300), offset: 19974, time_s: 1_795_399_531 };
        let recorded =
            "segment-00000000000000000300-00000000000000019974-00000000001795399531-records";
        assert_eq!(name.records(), recorded);
        assert_eq!(parse(recorded), LegacyFileName::Records(name));
        assert_eq!(parse(&name.index()), LegacyFileName::Index(name));
        assert_eq!(
            (parse("config"), parse("lock")),
            (LegacyFileName::Config, LegacyFileName::Lock)
        );
        for invalid in [
            "segment-300-19974-1795399531-records",
            "segment-0000000000000000-300-00000000000000019974-00000000001795399531-records",
            "segment-99999999999999999999-00000000000000019974-00000000001795399531-records",
            "segment-0000000000000000030+-00000000000000019974-00000000001795399531-index",
            "./config",
            "config/",
            "",
        ] {
            assert_eq!(parse(invalid), LegacyFileName::Other, "{invalid}");
        }
        assert_eq!(parse(&format!("{recorded}-records")), LegacyFileName::Other);
    }
}
