//! [`Moment`]: a time as a person gives it, such as `10m` ago or `2026-01-31T12:00:00Z`.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::token::Lifetime;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This long before the command starts.
    Ago(SignedDuration),
    At(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        if let Ok(time) = text.parse() {
            return Ok(Moment::At(time));
        }
        text.parse().map(|Lifetime(ago)| Moment::Ago(ago)).map_err(|accepted: String| {
            format!("{accepted}, for the time before now, or a time such as 2027-01-31T12:00:00Z")
        })
    }
}

impl Moment {
    /// The time in µs since the epoch; 0 if it is before the epoch.
    pub(crate) fn micros(self, now: Timestamp) -> u64 {
        let time = match self {
            Moment::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
            Moment::At(time) => time,
        };
        u64::try_from(time.as_microsecond()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_back_from_now_and_times_need_a_zone() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let micros = |text: &str| text.parse::<Moment>().ok().map(|moment| moment.micros(now));
        let second = 1_000_000;
        let noon = u64::try_from(now.as_microsecond()).expect("after the epoch");
        for (text, expected) in [
            ("10m", Some(noon - 600 * second)),
            ("90s", Some(noon - 90 * second)),
            ("2h", Some(noon - 7200 * second)),
            ("1d", Some(noon - 86_400 * second)),
            ("9000y", Some(0)),
            ("2026-01-31T12:00:01Z", Some(noon + second)),
            ("2026-01-31T13:00:00+01:00", Some(noon)),
            ("2026-01-31T12:00:00.000001Z", Some(noon + 1)),
            ("1960-01-01T00:00:00Z", Some(0)),
            ("2026-01-31", None),
            ("2026-01-31T12:00:00", None),
            ("10", None),
            ("-10m", None),
            ("0s", None),
            ("10x", None),
            ("99999999999999999999y", None),
            ("", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }
}
