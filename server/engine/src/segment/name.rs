//! The names of a log's files.

use styx_protocol::Position;

/// Bytes from the start of a segment file. Offsets never leave the engine.
pub(crate) type Offset = u64;

/// What a name in a generation's folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileName {
    Segment(Position),
    Index(Position),
    Producers(Position),
    Watermark,
    Temporary,
    Other,
}

pub(crate) const WATERMARK: &str = "watermark";
pub(crate) const MANIFEST: &str = "log.toml";

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
    if name.ends_with(crate::storage::TEMPORARY_SUFFIX) {
        return FileName::Temporary;
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
        assert_eq!(parse("00000000000000000007.seg.tmp"), FileName::Temporary);
        for stranger in ["7.seg", "0000000000000000000+.seg", "99999999999999999999.seg", "seg"] {
            assert_eq!(parse(stranger), FileName::Other, "{stranger}");
        }
    }
}
