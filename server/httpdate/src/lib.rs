//! Dates of HTTP, such as `Sun, 06 Nov 1994 08:49:37 GMT`, for any value of the system clock.
//!
//! This crate replaces the crate `httpdate` of crates.io, which panics before 1970 and after the
//! year 9999. hyper renders the current time whenever it polls an HTTP/1 connection, and no option
//! prevents that. So with a clock before 1970, every connection would end with a panic. This crate
//! has only what hyper and `styx-server` use. Remove it when hyper renders no date that it does not
//! send, or when `httpdate` does not panic.
//!
//! Invariant: every date has [`DATE_BYTES`] bytes, because hyper copies it into an array.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::rfc2822::DateTimePrinter;

/// The length of every date in bytes.
pub const DATE_BYTES: usize = 29;

/// A time between 1970 and the end of the year 9999, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDate(Timestamp);

impl From<SystemTime> for HttpDate {
    /// A time before 1970 becomes the first date, and a time after the year 9999 the last one.
    fn from(time: SystemTime) -> HttpDate {
        let latest = if time < UNIX_EPOCH { Timestamp::UNIX_EPOCH } else { Timestamp::MAX };
        HttpDate(Timestamp::try_from(time).unwrap_or(latest).max(Timestamp::UNIX_EPOCH))
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = DateTimePrinter::new();
        printer.print_timestamp_rfc9110(&self.0, StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

/// Returns a time as the headers of HTTP write it.
#[must_use]
pub fn fmt_http_date(time: SystemTime) -> String {
    HttpDate::from(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_time_has_a_date() {
        let after = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).expect("a time");
        let before =
            |seconds| UNIX_EPOCH.checked_sub(Duration::from_secs(seconds)).expect("a time");
        for (time, expected) in [
            (after(0), "Thu, 01 Jan 1970 00:00:00 GMT"),
            (after(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (after(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT"),
            (after(253_402_207_200), "Thu, 30 Dec 9999 22:00:00 GMT"),
            (after(253_402_300_800), "Thu, 30 Dec 9999 22:00:00 GMT"),
            (after(1 << 62), "Thu, 30 Dec 9999 22:00:00 GMT"),
            (before(1), "Thu, 01 Jan 1970 00:00:00 GMT"),
            (before(1 << 62), "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            let date = fmt_http_date(time);
            assert_eq!(date, expected);
            assert_eq!(date.len(), DATE_BYTES);
        }
        let with_nanoseconds = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(fmt_http_date(with_nanoseconds).len(), DATE_BYTES);
    }
}
