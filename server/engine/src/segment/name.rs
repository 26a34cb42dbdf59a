//! The names of a log's files: creates and parses them.
//!
//! Invariant: every name that this module creates is parsed back to the same position.

use styx_protocol::Position;

/// A number of bytes from the start of a segment file. Offsets are not part of the API.
pub(crate) type Offset = u64;

/// The kind of a file in a generation folder, from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileName {
    /// The segment with this base position.
    Segment(Position),
    /// The index of the segment with this base position.
    Index(Position),
    /// The producer snapshot at this end position.
    Producers(Position),
    Watermark,
    /// The list of archived segments.
    Archive,
    /// One of these files, the manifest, or the cursors, while it was being written; removed at the
    /// next start.
    Temporary,
    Other,
}

pub(crate) const WATERMARK: &str = "watermark";
/// The file with the entries of archived segments.
pub(crate) const ARCHIVE: &str = "archive";
/// The file with a copy of the last torn tail, for analysis.
pub(crate) const TORN_TAIL: &str = "torn-tail";
pub(crate) const MANIFEST: &str = "log.toml";
/// The file with the cursors, beside the manifest.
pub(crate) const CURSORS: &str = "cursors";

pub(crate) fn segment(base: Position) -> String {
    format!("{:020}.seg", base.0)
}

pub(crate) fn index(base: Position) -> String {
    format!("{:020}.idx", base.0)
}

pub(crate) fn producers(end: Position) -> String {
    format!("{:020}.producers", end.0)
}

pub(crate) fn parse(name: &str) -> FileName {
    if name == WATERMARK {
        return FileName::Watermark;
    }
    if name == ARCHIVE {
        return FileName::Archive;
    }
    if let Some(whole) = name.strip_suffix(crate::storage::TEMPORARY_SUFFIX) {
        let is_ours =
            [MANIFEST, CURSORS, TORN_TAIL].contains(&whole) || parse(whole) != FileName::Other;
        return if is_ours { FileName::Temporary } else { FileName::Other };
    }
    let Some((digits, kind)) = name.split_once('.') else {
        return FileName::Other;
    };
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return FileName::Other;
    }
    let Ok(position) = digits.parse().map(Position) else {
        return FileName::Other;
    };
    match kind {
        "seg" => FileName::Segment(position),
        "idx" => FileName::Index(position),
        "producers" => FileName::Producers(position),
        _ => FileName::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip_and_others_are_rejected() {
        assert_eq!(parse(&segment(Position(7))), FileName::Segment(Position(7)));
        assert_eq!(parse(&index(Position(7))), FileName::Index(Position(7)));
        assert_eq!(parse(&producers(Position(7))), FileName::Producers(Position(7)));
        assert_eq!(parse(ARCHIVE), FileName::Archive);
        for ours in [
            "00000000000000000007.seg.tmp",
            "watermark.tmp",
            "log.toml.tmp",
            "cursors.tmp",
            "archive.tmp",
        ] {
            assert_eq!(parse(ours), FileName::Temporary, "{ours}");
        }
        for other in ["notes.tmp", ".tmp"] {
            assert_eq!(parse(other), FileName::Other, "{other}");
        }
        for other in ["7.seg", "0000000000000000000+.seg", "99999999999999999999.seg", "seg"] {
            assert_eq!(parse(other), FileName::Other, "{other}");
        }
    }
}
