//! What becomes of records that are read: counted while the clock runs, checked
//! when it does not.

use std::time::{Duration, Instant};

use crate::benchmark::payload::Checker;
use crate::failure::Failure;

/// Takes records as they come.
pub(in crate::benchmark) trait Visitor {
    /// Takes records that came together; `false` when it wants no more.
    ///
    /// # Errors
    /// They are wrong.
    fn visit<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Failure>;
}

impl Visitor for Checker {
    fn visit<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Failure> {
        for payload in payloads {
            self.check(payload).map_err(Failure::Failed)?;
        }
        Ok(true)
    }
}

/// Counts records and their bytes, looking at the length of each. The clock
/// starts when the first ones are there, which do not count: what opening takes
/// is no part of the rate, unless all came at once.
#[derive(Debug)]
pub(in crate::benchmark) struct Counter {
    time: Duration,
    made: Instant,
    begun: Option<Instant>,
    /// Records in all.
    pub(in crate::benchmark) records: u64,
    pub(in crate::benchmark) payload_bytes: u64,
    uncounted: u64,
    last: Instant,
}

impl Counter {
    /// Wants no more when `time` has passed since the first ones.
    pub(in crate::benchmark) fn new(time: Duration) -> Counter {
        let made = Instant::now();
        Counter { time, made, begun: None, records: 0, payload_bytes: 0, uncounted: 0, last: made }
    }

    /// Records that count, and the time that they took.
    pub(in crate::benchmark) fn counted(&self) -> (u64, Duration) {
        match self.begun {
            Some(begun) if self.records > self.uncounted => {
                (self.records - self.uncounted, self.last - begun)
            }
            _ => (self.records, self.last - self.made),
        }
    }
}

impl Visitor for Counter {
    fn visit<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Failure> {
        let before = self.records;
        for payload in payloads {
            self.records += 1;
            self.payload_bytes += payload.len() as u64;
        }
        if self.records == before {
            return Ok(true);
        }
        self.last = Instant::now();
        let begun = *self.begun.get_or_insert_with(|| {
            self.uncounted = self.records;
            self.last
        });
        Ok(self.last - begun < self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_starts_the_clock() {
        let mut counter = Counter::new(Duration::from_secs(60));
        let payloads: [&[u8]; 3] = [b"a", b"bc", b""];
        assert!(counter.visit(std::iter::empty()).expect("counted"));
        assert!(counter.visit(payloads.into_iter()).expect("counted"));
        assert_eq!(counter.counted().0, 3, "all came at once");
        assert!(counter.visit(payloads.into_iter()).expect("counted"));
        assert_eq!((counter.counted().0, counter.records, counter.payload_bytes), (3, 6, 6));
        let mut late = Counter::new(Duration::ZERO);
        assert!(late.visit(std::iter::empty()).expect("counted"), "nothing came yet");
        assert!(!late.visit(payloads.into_iter()).expect("counted"), "time is over");
    }
}
