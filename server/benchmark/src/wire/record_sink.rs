//! [`RecordSink`]: receives records that are read. They are counted while a rate is
//! measured, and checked otherwise.

use std::time::{Duration, Instant};

use crate::Error;
use crate::payload::RecordChecker;

/// Receives records.
pub(crate) trait RecordSink {
    /// Receives the records of one read. Returns `false` if the sink needs no more.
    ///
    /// # Errors
    /// A record is wrong.
    fn accept<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Error>;
}

impl RecordSink for RecordChecker {
    fn accept<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Error> {
        for payload in payloads {
            self.check(payload).map_err(Error::Failed)?;
        }
        Ok(true)
    }
}

/// Counts records and their bytes. The clock starts when the first records arrive, and
/// those do not count, so that the time to open the stream is not part of the rate. If
/// all records arrive in one read, all count, from the creation of the counter.
#[derive(Debug)]
pub(crate) struct RecordCounter {
    time: Duration,
    made: Instant,
    begun: Option<Instant>,
    /// All records, including those that do not count.
    pub(crate) records: u64,
    pub(crate) payload_bytes: u64,
    uncounted: u64,
    last: Instant,
}

impl RecordCounter {
    /// A counter that needs no more records when `time` has passed since the first ones.
    pub(crate) fn new(time: Duration) -> RecordCounter {
        let made = Instant::now();
        RecordCounter {
            time,
            made,
            begun: None,
            records: 0,
            payload_bytes: 0,
            uncounted: 0,
            last: made,
        }
    }

    /// The time from the creation of the counter to the last records.
    pub(crate) fn since_made(&self) -> Duration {
        self.last - self.made
    }

    /// The records that count, and the time in which they arrived.
    pub(crate) fn counted(&self) -> (u64, Duration) {
        match self.begun {
            Some(begun) if self.records > self.uncounted => {
                (self.records - self.uncounted, self.last - begun)
            }
            _ => (self.records, self.last - self.made),
        }
    }
}

impl RecordSink for RecordCounter {
    fn accept<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Error> {
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
    fn first_records_start_the_clock_and_do_not_count() {
        let mut counter = RecordCounter::new(Duration::from_secs(60));
        let payloads: [&[u8]; 3] = [b"a", b"bc", b""];
        assert!(counter.accept(std::iter::empty()).expect("no error"));
        assert!(counter.accept(payloads.into_iter()).expect("no error"));
        assert_eq!(counter.counted().0, 3, "all arrived in one read");
        assert!(counter.accept(payloads.into_iter()).expect("no error"));
        assert_eq!((counter.counted().0, counter.records, counter.payload_bytes), (3, 6, 6));
        let mut late = RecordCounter::new(Duration::ZERO);
        assert!(late.accept(std::iter::empty()).expect("no error"), "no record arrived yet");
        assert!(!late.accept(payloads.into_iter()).expect("no error"), "time is over");
    }
}
