//! [`Given`]: an option's key and its value as text.

use std::ops::RangeInclusive;
use std::time::Duration;

use styx_protocol::read::parse_bool;
use styx_protocol::{Codec, Codecs};

use super::{OPTIONS, OptionOf};
use crate::error::Error;

/// The units of a duration, in nanoseconds.
const DURATIONS: [(&str, f64); 5] =
    [("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9)];
/// The units of a number of bytes.
const SIZES: [(&str, u64); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// See the module. Each method parses the value. Its error says what is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Given<'a> {
    pub(crate) fn new(key: &'a str, value: &'a str) -> Given<'a> {
        Given { key, value: value.trim() }
    }

    /// `None` for `none`, which means no limit or no condition.
    pub(crate) fn optional<T>(
        self,
        parse: impl FnOnce(Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.value.eq_ignore_ascii_case("none") { Ok(None) } else { parse(self).map(Some) }
    }

    /// A duration of this range.
    pub(crate) fn duration(self, range: RangeInclusive<Duration>) -> Result<Duration, Error> {
        let (number, unit) = self.split();
        let nanoseconds = match (unit, DURATIONS.iter().find(|(name, _)| *name == unit)) {
            ("", _) if number == "0" => Some(0.0),
            (_, Some((_, unit))) => number.parse::<f64>().ok().map(|number| number * unit),
            (_, None) => None,
        };
        let duration = nanoseconds.and_then(|count| Duration::try_from_secs_f64(count / 1e9).ok());
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            self.invalid(&format!(
                "a number with us, ms, s, min or h, such as 500 ms, from {min:?} to {max:?}"
            ))
        })
    }

    /// A number of bytes of this range.
    pub(crate) fn bytes(self, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let (number, unit) = self.split();
        let unit = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, unit)| *unit);
        let number = number.parse::<u64>().ok().zip(unit);
        let bytes = number.and_then(|(number, unit)| number.checked_mul(unit));
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let most = match *range.end() {
                usize::MAX => "more".to_owned(),
                most => most.to_string(),
            };
            self.invalid(&format!(
                "a whole number of bytes, or one with KiB, MiB or GiB, from {} to {most}",
                range.start()
            ))
        })
    }

    /// A whole number of this range.
    pub(crate) fn number(self, range: RangeInclusive<u64>) -> Result<u64, Error> {
        let is_number = self.value.bytes().all(|byte| byte.is_ascii_digit());
        let number = self.value.parse().ok().filter(|number| is_number && range.contains(number));
        number.ok_or_else(|| {
            self.invalid(&format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(self) -> Result<bool, Error> {
        parse_bool("", self.value).map_err(|_| self.invalid("true or false"))
    }

    /// A codec's name.
    pub(crate) fn codec(self) -> Result<Codec, Error> {
        self.value.parse().map_err(|_| self.invalid("none, lz4 or zstd"))
    }

    /// `all`, or names of codecs.
    pub(crate) fn codecs(self) -> Result<Codecs, Error> {
        if self.value.eq_ignore_ascii_case("all") {
            return Ok(Codecs::ALL);
        }
        let mut words = self.value.split(',').map(|word| word.trim().parse::<Codec>());
        words
            .try_fold(Codecs::PLAIN, |codecs, codec| codec.map(|codec| codecs.with(codec)))
            .map_err(|_| self.invalid("all, none, or lz4 and zstd separated by commas"))
    }

    /// The error for a key that this builder does not have. It names the nearest key.
    pub(crate) fn unknown(self, of: OptionOf) -> Error {
        let key = self.key;
        if let Some(other) = OPTIONS.iter().find(|option| option.name == key) {
            return Error::invalid_argument(format!(
                "{key} is an option of the {}, not of the {of}",
                other.of
            ));
        }
        let lower = key.to_lowercase();
        let nearest = OPTIONS
            .iter()
            .filter(|option| option.of == of)
            .min_by_key(|option| strsim::levenshtein(&lower, option.name))
            .map_or("", |option| option.name);
        let shown: String = key.chars().take(80).collect();
        Error::invalid_argument(format!("unknown {of} option {shown:?}: did you mean {nearest}?"))
    }

    fn invalid(self, allowed: &str) -> Error {
        let shown: String = self.value.chars().take(80).collect();
        Error::invalid_argument(format!("{} is {shown:?}: use {allowed}", self.key))
    }

    /// The number at the start of the value, and its unit.
    fn split(self) -> (&'a str, &'a str) {
        let is_unit = |c: char| !(c.is_ascii_digit() || c == '.');
        let at = self.value.find(is_unit).unwrap_or(self.value.len());
        let (number, unit) = self.value.split_at(at);
        (number, unit.trim_start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> Given<'_> {
        Given::new("linger", value)
    }

    #[test]
    fn durations_have_a_unit() {
        let day = Duration::from_secs(86400);
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("500ms", Duration::from_millis(500)),
            (" 500 ms ", Duration::from_millis(500)),
            ("0.1 s", Duration::from_millis(100)),
            ("10s", Duration::from_secs(10)),
            ("7us", Duration::from_micros(7)),
            ("1.5min", Duration::from_secs(90)),
            ("24 h", day),
        ] {
            let parsed = given(text).duration(Duration::ZERO..=day);
            assert_eq!(parsed.expect(text), expected, "{text}");
        }
        for text in ["", "10", "s", "-1s", "1e3 s", "1 day", "25 h", "1..2 s", "inf s", "NaN"] {
            let error = given(text).duration(Duration::ZERO..=day).expect_err(text);
            let message = error.message();
            let parts = ["linger is ", "such as 500 ms", "from 0ns to 86400s"];
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        for (text, expected) in
            [("1", 1), ("256 KiB", 256 << 10), ("1MiB", 1 << 20), ("1 GiB", 1 << 30), ("9 B", 9)]
        {
            assert_eq!(given(text).bytes(1..=1 << 30).expect(text), expected, "{text}");
        }
        for text in ["", "0", "1.5 MiB", "2 GiB", "1 KB", "-1", "99999999999999 GiB"] {
            let message = given(text).bytes(1..=1 << 30).expect_err(text).message().to_owned();
            assert!(message.contains("KiB, MiB or GiB, from 1 to 1073741824"), "{message}");
        }
    }

    #[test]
    fn other_values_are_parsed_or_say_what_is_allowed() {
        assert_eq!(given("64").number(1..=64).expect("allowed"), 64);
        for text in ["", "0", "65", "+7", "-7", "x"] {
            let error = given(text).number(1..=64).expect_err(text);
            assert!(error.message().contains("a whole number from 1 to 64"), "{error}");
        }
        assert!(given("true").flag().expect("allowed") && !given("0").flag().expect("allowed"));
        let error = given("yes").flag().expect_err("not allowed");
        assert!(error.message().ends_with("use true or false"), "{error}");
        assert_eq!(given("LZ4").codec().expect("allowed"), Codec::Lz4);
        assert!(given("gzip").codec().expect_err("unknown").message().contains("lz4 or zstd"));
        assert_eq!(given("all").codecs().expect("allowed"), Codecs::ALL);
        assert_eq!(given("none").codecs().expect("allowed"), Codecs::PLAIN);
        let both = given("zstd, lz4").codecs().expect("allowed");
        assert!(both.contains(Codec::Zstd) && both.contains(Codec::Lz4));
        assert!(given("lz4,gzip").codecs().is_err());
        assert_eq!(given("none").optional(Given::flag).expect("allowed"), None);
        assert_eq!(given("1").optional(Given::flag).expect("allowed"), Some(true));
    }

    #[test]
    fn unknown_key_names_the_nearest_one() {
        for (key, of, expected) in [
            ("lingr", OptionOf::Producer, "did you mean linger?"),
            ("blockbytes", OptionOf::Producer, "did you mean block_bytes?"),
            ("Token", OptionOf::Client, "did you mean token?"),
            ("follows", OptionOf::Consumer, "unknown consumer option \"follows\""),
            ("", OptionOf::Client, "did you mean "),
            ("linger", OptionOf::Consumer, "is an option of the producer, not of the consumer"),
        ] {
            let error = Given::new(key, "x").unknown(of);
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
