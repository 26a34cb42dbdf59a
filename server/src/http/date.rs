//! The `Date` of answers.
//!
//! hyper adds one to answers that have none, but it renders the time again only when the
//! clock has passed the next second. After a clock that was a year ahead for a moment,
//! that would be a year later.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

thread_local! {
    /// The last second that this thread has rendered.
    static RENDERED: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The header's value now.
pub(super) fn now() -> HeaderValue {
    at(SystemTime::now())
}

fn at(time: SystemTime) -> HeaderValue {
    let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    RENDERED.with_borrow_mut(|rendered| match rendered {
        Some((of, value)) if *of == second => value.clone(),
        _ => {
            let value = HeaderValue::from_str(&httpdate::fmt_http_date(time));
            let value = value.expect("a date has only visible characters and spaces");
            *rendered = Some((second, value.clone()));
            value
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn date_follows_a_clock_that_jumps_to_any_time_and_back() {
        let start = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let year = Duration::from_secs(31_536_000);
        for (time, expected) in [
            (start, now),
            (start + Duration::from_millis(900), now),
            (start + year, "Mon, 06 Nov 1995 08:49:37 GMT"),
            (start, now),
            (start - 30 * year, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (start, now),
            (start + 20_000 * year, "Thu, 30 Dec 9999 22:00:00 GMT"),
            (start + Duration::from_secs(1), "Sun, 06 Nov 1994 08:49:38 GMT"),
        ] {
            assert_eq!(at(time), expected);
        }
    }
}
