//! The parameters of a read: the query parameters `whence`, `position`, `count` and
//! `follow`. HTTP, WebSocket and the streams all use them.
//!
//! The caller decodes the query to pairs. This module converts the pairs to valid values.
//! The engine checks them against the log.

/// What `position` is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Whence {
    /// Position 0.
    #[default]
    Origin,
    /// The first record that the log still has; `current` means the same.
    Start,
    /// The end position.
    End,
    /// The Unix epoch. The position is a time, and the read begins at the first record that
    /// was appended then or later.
    Time,
}

/// The parameters of a read. The default reads every record from position 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadParams {
    /// What `position` is relative to.
    pub whence: Whence,
    /// Records relative to `whence`; with [`Whence::Time`], µs since the Unix epoch, never
    /// negative.
    pub position: i64,
    /// The most records to read; `None` means no limit.
    pub count: Option<u64>,
    /// Whether to wait for new records at the end.
    pub follow: bool,
}

/// A parameter with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value:?}: use {accepted}")]
pub struct InvalidParam {
    /// The parameter's name.
    pub name: &'static str,
    /// The given value, shortened.
    pub value: String,
    /// The accepted values, in words.
    pub accepted: &'static str,
}

impl InvalidParam {
    /// The error for the parameter `name` with the value `value`.
    #[must_use]
    pub fn new(name: &'static str, value: &str, accepted: &'static str) -> InvalidParam {
        InvalidParam { name, value: value.chars().take(100).collect(), accepted }
    }
}

impl Whence {
    /// The value of the parameter `whence`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Whence::Origin => "origin",
            Whence::Start => "start",
            Whence::End => "end",
            Whence::Time => "time",
        }
    }
}

impl std::str::FromStr for Whence {
    type Err = InvalidParam;

    fn from_str(text: &str) -> Result<Self, InvalidParam> {
        match text {
            "origin" => Ok(Whence::Origin),
            "start" | "current" => Ok(Whence::Start),
            "end" => Ok(Whence::End),
            "time" => Ok(Whence::Time),
            _ => Err(InvalidParam::new("whence", text, "origin, start, end or time")),
        }
    }
}

impl ReadParams {
    /// Reads all parameters. Names may be in any letter case, and unknown names are ignored.
    /// An empty value means the default. Of duplicates, the last one counts.
    ///
    /// # Errors
    /// The first parameter with an invalid value.
    pub fn parse<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidParam>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let given = Given::collect(pairs);
        let mut params = given.place()?;
        if let Some(text) = given.count {
            params.count = parse_count(text.as_ref())?;
        }
        if let Some(text) = given.follow {
            params.follow = parse_bool("follow", text.as_ref())?;
        }
        Ok(params)
    }

    /// As [`parse`](Self::parse), for the read of a single record: `count` and `follow` are
    /// ignored.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_single<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidParam>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Given::collect(pairs).place()
    }
}

/// The last value of each parameter that is not empty.
struct Given<V> {
    whence: Option<V>,
    position: Option<V>,
    count: Option<V>,
    follow: Option<V>,
}

impl<V: AsRef<str>> Given<V> {
    fn collect<N: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Given<V> {
        let mut given = Given { whence: None, position: None, count: None, follow: None };
        for (name, value) in pairs {
            let name = name.as_ref();
            let slot = match () {
                () if name.eq_ignore_ascii_case("whence") => &mut given.whence,
                () if name.eq_ignore_ascii_case("position") => &mut given.position,
                () if name.eq_ignore_ascii_case("count") => &mut given.count,
                () if name.eq_ignore_ascii_case("follow") => &mut given.follow,
                () => continue,
            };
            *slot = Some(value).filter(|v| !v.as_ref().is_empty());
        }
        given
    }

    fn place(&self) -> Result<ReadParams, InvalidParam> {
        let whence = match &self.whence {
            Some(text) => text.as_ref().parse()?,
            None => Whence::default(),
        };
        let position = match &self.position {
            Some(text) if whence == Whence::Time => parse_time(text.as_ref())?,
            Some(text) => parse_position(text.as_ref())?,
            None => 0,
        };
        Ok(ReadParams { whence, position, ..ReadParams::default() })
    }
}

fn parse_position(text: &str) -> Result<i64, InvalidParam> {
    let accepted = "a whole number of records, which may be negative";
    text.parse().map_err(|_| InvalidParam::new("position", text, accepted))
}

/// µs since the Unix epoch, from a number or an RFC 3339 time. No record is older than the
/// epoch, so an earlier time means the epoch.
fn parse_time(text: &str) -> Result<i64, InvalidParam> {
    if let Ok(microseconds) = text.parse::<i64>() {
        return Ok(microseconds.max(0));
    }
    let microseconds = rfc_3339_microseconds(text).or_else(|| {
        // An unescaped `+` is decoded to a space.
        let (time, offset) = text.rsplit_once(' ')?;
        rfc_3339_microseconds(&format!("{time}+{offset}"))
    });
    let accepted = "microseconds since the epoch or a time like 2026-01-31T12:00:00Z";
    let invalid = || InvalidParam::new("position", text, accepted);
    microseconds.map(|microseconds| microseconds.max(0)).ok_or_else(invalid)
}

/// µs since the Unix epoch of a time of the years 0000 to 9999, with an offset of at most
/// 23:59, as RFC 3339 allows it; negative before 1970. `None` for any other text.
#[must_use]
pub fn rfc_3339_microseconds(text: &str) -> Option<i64> {
    // `jiff::Timestamp` allows larger offsets, and ends on 9999-12-30.
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset().filter(|offset| offset.seconds().abs() < 24 * 3600)?;
    let time = pieces.date().to_datetime(pieces.time()?);
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let offset = jiff::SignedDuration::from_secs(offset.seconds().into());
    i64::try_from((time.duration_since(epoch) - offset).as_micros()).ok()
}

/// A negative count means no limit.
fn parse_count(text: &str) -> Result<Option<u64>, InvalidParam> {
    let accepted = "a whole number of records; a negative one means no limit";
    match text.parse::<i64>() {
        Ok(count) => Ok(u64::try_from(count).ok()),
        Err(_) => Err(InvalidParam::new("count", text, accepted)),
    }
}

/// A boolean parameter of the API.
///
/// # Errors
/// Anything but `1 t T true True TRUE` and `0 f F false False FALSE`.
pub fn parse_bool(name: &'static str, text: &str) -> Result<bool, InvalidParam> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(InvalidParam::new(name, text, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `a=1&b=2`; an error is returned as the parameter's name.
    fn parse(query: &str) -> Result<ReadParams, &'static str> {
        ReadParams::parse(pairs(query)).map_err(|e| e.name)
    }

    fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    #[test]
    fn missing_and_empty_values_mean_the_defaults() {
        for query in ["", "whence=&position=&count=&follow=", "x=y", "count=5&count="] {
            assert_eq!(parse(query), Ok(ReadParams::default()), "{query}");
        }
    }

    #[test]
    fn names_are_case_insensitive_and_the_last_one_wins() {
        let params = ReadParams { whence: Whence::End, position: -7, count: Some(0), follow: true };
        let query = "WHENCE=origin&whence=end&Position=-7&count=9&COUNT=0&FOLLOW=f&follow=True";
        assert_eq!(parse(query), Ok(params));
        assert_eq!(parse("whence=current").map(|p| p.whence), Ok(Whence::Start));
        assert_eq!(parse("count=-5").map(|p| p.count), Ok(None));
    }

    #[test]
    fn error_names_its_parameter() {
        for (query, name) in [
            ("whence=sideways", "whence"),
            ("whence=End", "whence"),
            ("position=x", "position"),
            ("position=9223372036854775808", "position"),
            ("whence=time&position=yesterday", "position"),
            ("count=abc", "count"),
            ("follow=yes", "follow"),
        ] {
            assert_eq!(parse(query), Err(name), "{query}");
        }
        let message = ReadParams::parse([("count", "abc")]).map_err(|e| e.to_string());
        let expected = "count is \"abc\": use a whole number of records; \
                        a negative one means no limit";
        assert_eq!(message, Err(expected.to_owned()));
    }

    #[test]
    fn single_read_ignores_count_and_follow() {
        let params = ReadParams::parse_single(pairs("count=abc&follow=maybe&position=3"));
        assert_eq!(params, Ok(ReadParams { position: 3, ..ReadParams::default() }));
        assert!(ReadParams::parse_single(pairs("position=x")).is_err());
    }

    #[test]
    fn time_is_a_number_or_rfc_3339() {
        for (text, expected) in [
            ("1700000000000001", 1_700_000_000_000_001),
            ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000_000),
            ("2023-11-15T00:13:20 02:00", 1_700_000_000_000_000),
            ("-5", 0),
            ("1969-01-01T00:00:00Z", 0),
            ("0000-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00-23:59", 86_340_000_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
        ] {
            let params = ReadParams::parse([("whence", "time"), ("position", text)]);
            assert_eq!(params.map(|p| p.position), Ok(expected), "{text}");
        }
    }

    #[test]
    fn time_without_a_valid_offset_is_refused() {
        for text in [
            "2023-11-15T00:13:20",
            "2023-11-15",
            "2023-11-15T00:13:20+24:00",
            "2023-11-15T00:13:20-24:00",
            "2023-11-15T25:13:20Z",
            "10000-01-01T00:00:00Z",
        ] {
            let params = ReadParams::parse([("whence", "time"), ("position", text)]);
            assert!(params.is_err(), "{text}");
        }
    }
}
