//! Media types: a write's `Content-Type` and a read's `Accept` select the form of records in
//! a body.
//!
//! This is the first step of every HTTP request for records. An unknown type is not an
//! error: it means a single record. The only error is an unknown `line-ending`.

use crate::line_ending::{LineEnding, UnknownLineEnding};

/// One record, unchanged.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Records, each after its size. See [`binary_records`](crate::binary_records).
pub const BINARY_RECORDS: &str = "application/vnd.styx.binary-records";
/// Records that end with a line ending. See [`lines`](crate::lines).
pub const LINE_DELIMITED: &str = "application/vnd.styx.line-delimited";
/// Lines, each of them JSON.
pub const NDJSON: &str = "application/x-ndjson";
/// Other names of [`NDJSON`] that clients send.
const NDJSON_ALIASES: [&str; 2] = ["application/ndjson", "application/jsonl"];
/// Server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// The form of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteType {
    /// The whole body is one record.
    Single,
    /// Records after their sizes.
    BinaryRecords,
    /// Records that end with a line ending.
    Lines(LineEnding),
    /// Lines that end with `\n`, each of them JSON.
    Ndjson,
}

/// The form of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadType {
    /// Exactly one record, or nothing at the end of the log.
    Single,
    /// Records after their sizes.
    BinaryRecords,
    /// Records that end with a line ending.
    Lines(LineEnding),
    /// Server-sent events.
    EventStream,
}

impl WriteType {
    /// Parses a `Content-Type`. A missing or unknown type means [`WriteType::Single`].
    ///
    /// # Errors
    /// The line-delimited type with an unknown `line-ending`.
    pub fn parse(content_type: Option<&str>) -> Result<WriteType, UnknownLineEnding> {
        let item = Item::parse(content_type.unwrap_or_default());
        Ok(match item.name {
            name if name.eq_ignore_ascii_case(BINARY_RECORDS) => WriteType::BinaryRecords,
            name if name.eq_ignore_ascii_case(LINE_DELIMITED) => {
                WriteType::Lines(item.line_ending()?)
            }
            name if is_ndjson(name) => WriteType::Ndjson,
            _ => WriteType::Single,
        })
    }

    /// The media type, as a client sends it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            WriteType::Single => OCTET_STREAM,
            WriteType::BinaryRecords => BINARY_RECORDS,
            WriteType::Lines(ending) => line_delimited(ending),
            WriteType::Ndjson => NDJSON,
        }
    }
}

impl ReadType {
    /// Parses an `Accept` header, which may be a list. The item with the highest `q` wins.
    /// With equal `q`, a known type wins over another one (`*/*`, `application/json`), and
    /// then the first one wins. An unknown type or no header means [`ReadType::Single`].
    ///
    /// # Errors
    /// The line-delimited type with an unknown `line-ending`.
    pub fn parse(accept: Option<&str>) -> Result<ReadType, UnknownLineEnding> {
        let mut best = (0, false, ReadType::Single);
        for item in split(accept.unwrap_or_default(), ',').map(Item::parse) {
            let (named, read_type) = match item.name {
                name if name.eq_ignore_ascii_case(BINARY_RECORDS) => {
                    (true, ReadType::BinaryRecords)
                }
                name if name.eq_ignore_ascii_case(LINE_DELIMITED) => {
                    (true, ReadType::Lines(item.line_ending()?))
                }
                name if name.eq_ignore_ascii_case(EVENT_STREAM) => (true, ReadType::EventStream),
                name => (name.eq_ignore_ascii_case(OCTET_STREAM), ReadType::Single),
            };
            let weight = item.weight();
            if weight > 0 && (weight, named) > (best.0, best.1) {
                best = (weight, named, read_type);
            }
        }
        Ok(best.2)
    }

    /// The `Content-Type` of the response.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            ReadType::Single => OCTET_STREAM,
            ReadType::BinaryRecords => BINARY_RECORDS,
            ReadType::Lines(ending) => line_delimited(ending),
            ReadType::EventStream => EVENT_STREAM,
        }
    }
}

fn is_ndjson(name: &str) -> bool {
    let matches = |known: &str| name.eq_ignore_ascii_case(known);
    matches(NDJSON) || NDJSON_ALIASES.into_iter().any(matches)
}

fn line_delimited(ending: LineEnding) -> &'static str {
    match ending {
        LineEnding::Lf => "application/vnd.styx.line-delimited; line-ending=lf",
        LineEnding::Cr => "application/vnd.styx.line-delimited; line-ending=cr",
        LineEnding::CrLf => "application/vnd.styx.line-delimited; line-ending=crlf",
    }
}

/// One media type with its parameters, as in a header.
#[derive(Clone, Copy)]
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Item<'a> {
    fn parse(text: &'a str) -> Item<'a> {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        Item { name: name.trim(), parameters }
    }

    /// The parameter's value without quotes; the last one if it is repeated.
    fn parameter(self, name: &str) -> Option<&'a str> {
        split(self.parameters, ';')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| unquote(value.trim()))
            .last()
    }

    fn line_ending(self) -> Result<LineEnding, UnknownLineEnding> {
        self.parameter("line-ending").map_or(Ok(LineEnding::default()), str::parse)
    }

    /// `q` in thousandths; 1000 if it is missing or invalid.
    fn weight(self) -> u32 {
        let q = self.parameter("q").and_then(|q| q.parse::<f32>().ok());
        match q.filter(|q| (0.0..=1.0).contains(q)) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1000"
            )]
            Some(q) => (q * 1000.0).round() as u32,
            None => 1000,
        }
    }
}

/// The parts of `text` between separators outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '"' => quoted = !quoted,
            '\\' => escaped = quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(content_type: &str) -> Option<WriteType> {
        WriteType::parse(Some(content_type)).ok()
    }

    fn read(accept: &str) -> Option<ReadType> {
        ReadType::parse(Some(accept)).ok()
    }

    #[test]
    fn body_is_one_record_unless_its_type_is_listed() {
        use LineEnding::{Cr, CrLf, Lf};
        assert_eq!(WriteType::parse(None), Ok(WriteType::Single));
        for text in
            ["", "application/octet-stream", "text/plain", "application/json", ";;=\"", "x,y"]
        {
            assert_eq!(write(text), Some(WriteType::Single), "{text}");
        }
        assert_eq!(write("Application/Vnd.Styx.Binary-Records"), Some(WriteType::BinaryRecords));
        for name in ["application/x-ndjson", "application/ndjson", "Application/JSONL"] {
            let text = format!(" {name} ; charset=utf-8");
            assert_eq!(write(&text), Some(WriteType::Ndjson), "{text}");
        }
        for (parameters, expected) in [
            ("", Some(Lf)),
            (";line-ending=lf", Some(Lf)),
            ("; Line-Ending=cr", Some(Cr)),
            ("; charset=utf-8; line-ending=\"crlf\"", Some(CrLf)),
            (";x=\"a;line-ending=zz\";line-ending=cr", Some(Cr)),
            (";line-ending=LF", None),
            (";line-ending=zz", None),
        ] {
            let text = format!("{LINE_DELIMITED}{parameters}");
            assert_eq!(write(&text), expected.map(WriteType::Lines), "{text}");
        }
    }

    #[test]
    fn response_is_one_record_unless_a_listed_type_is_preferred() {
        assert_eq!(ReadType::parse(None), Ok(ReadType::Single));
        for text in [
            "*/*",
            "application/json",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/*",
            "*/*, text/event-stream;q=0.5",
            "text/event-stream;q=0",
            "application/octet-stream, text/event-stream",
            ",,;",
        ] {
            assert_eq!(read(text), Some(ReadType::Single), "{text}");
        }
        let lines = ReadType::Lines(LineEnding::CrLf);
        for (text, expected) in [
            ("text/event-stream", ReadType::EventStream),
            ("*/*, TEXT/event-stream", ReadType::EventStream),
            ("application/vnd.styx.line-delimited;line-ending=crlf;q=0.9, */*;q=0.1", lines),
            ("text/event-stream;q=0.2, application/vnd.styx.binary-records", {
                ReadType::BinaryRecords
            }),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        assert_eq!(read("*/*, application/vnd.styx.line-delimited;line-ending=zz"), None);
    }

    #[test]
    fn response_type_is_accepted_as_request_type() {
        for ending in LineEnding::ALL {
            let text = ReadType::Lines(ending).content_type();
            assert_eq!(text, format!("{LINE_DELIMITED}; line-ending={ending}"));
            assert_eq!(write(text), Some(WriteType::Lines(ending)));
            assert_eq!(read(text), Some(ReadType::Lines(ending)));
        }
    }
}
