//! [`Printer`]: writes records to standard output, as lines, as binary-records or as JSON.
//!
//! Records are collected and written together; everything is written when a call returns. An
//! object of JSON has no line break, whatever the payload is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use jiff::Timestamp;
use serde::Serialize;
use styx_client::Record;
use styx_protocol::{LineEnding, binary_records, lines};

use crate::command_line::{Format, ReadArguments};
use crate::failure::Failure;
use crate::output;

const OUTPUT_BYTES: usize = 128 << 10;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    Binary,
    Lines(LineEnding),
    Json,
}

/// A record as an object of JSON.
#[derive(Debug, Serialize)]
struct RecordJson<'a> {
    position: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// For payloads that are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// See the module.
pub(super) struct Printer {
    format: OutputFormat,
    unbuffered: bool,
    out: BytesMut,
}

impl Printer {
    pub(super) fn new(arguments: &ReadArguments, format: Format) -> Result<Printer, Failure> {
        let format = match format {
            Format::Json if arguments.binary || arguments.line_ending != LineEnding::default() => {
                let message = "--format json prints one object a line: leave out --binary and \
                               --line-ending";
                return Err(Failure::Misuse(message.to_owned()));
            }
            Format::Json => OutputFormat::Json,
            Format::Text if arguments.binary => OutputFormat::Binary,
            Format::Text => OutputFormat::Lines(arguments.line_ending),
        };
        Ok(Printer { format, unbuffered: arguments.unbuffered, out: BytesMut::new() })
    }

    /// Whether it prints the position and the time of each record.
    pub(super) fn needs_records(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints these records, and returns when they are written.
    pub(super) fn print_records<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<(), Failure> {
        for record in records {
            match self.format {
                OutputFormat::Json => self.out.extend_from_slice(&json(&record)?),
                _ => self.encode(record.payload()),
            }
            self.flush_if_full()?;
        }
        self.flush()
    }

    /// The same for records without a position and a time.
    pub(super) fn print(
        &mut self,
        payloads: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), Failure> {
        for payload in payloads {
            self.encode(payload.as_ref());
            self.flush_if_full()?;
        }
        self.flush()
    }

    fn encode(&mut self, payload: &[u8]) {
        match self.format {
            OutputFormat::Binary => binary_records::encode(payload, &mut self.out),
            OutputFormat::Lines(ending) => lines::encode(payload, ending, &mut self.out),
            // Callers pass whole records to it.
            OutputFormat::Json => {}
        }
    }

    fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.unbuffered || self.out.len() >= OUTPUT_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_empty() {
            output::write(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// A record as one line of JSON.
fn json(record: &Record<'_>) -> Result<Vec<u8>, Failure> {
    let text = std::str::from_utf8(record.payload()).ok();
    let object = RecordJson {
        position: record.position(),
        time: time(record.timestamp()),
        payload: text,
        payload_base64: text.is_none().then(|| STANDARD.encode(record.payload())),
    };
    let line = serde_json::to_vec(&object).map(|mut line| {
        line.push(b'\n');
        line
    });
    line.map_err(|error| Failure::Failed(error.to_string()))
}

/// A time in RFC 3339 with all digits of its microseconds, so that times sort as text.
fn time(micros: u64) -> String {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use styx_client::{LogId, RecordBatch};

    use super::*;

    #[track_caller]
    fn check(payload: &[u8], expected: &str) {
        let batch = RecordBatch::of(LogId(1), 7, 1_767_225_600_000_001, [payload]);
        let line = json(&batch.get(0).expect("a record")).expect("JSON");
        let expected =
            format!("{{\"position\":7,\"time\":\"2026-01-01T00:00:00.000001Z\",{expected}}}\n");
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    #[test]
    fn record_is_one_line_of_json_whatever_its_payload_is() {
        check(b"a \"b\"\r\n", r#""payload":"a \"b\"\r\n""#);
        check("\u{2028}\u{1f600}".as_bytes(), "\"payload\":\"\u{2028}\u{1f600}\"");
        check(b"\xff\n", r#""payload_base64":"/wo=""#);
        check(b"", r#""payload":"""#);
    }

    #[test]
    fn times_have_six_digits_and_never_panic() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert!(time(u64::MAX).starts_with("9999-"));
    }
}
