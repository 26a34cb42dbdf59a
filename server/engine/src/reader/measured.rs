//! Counts how long reads take.
//!
//! A read that needs the disk or the object store is one read: it begins with the attempt that does
//! not wait, and ends when it has found something. Reads that find nothing, or fail, are not counted.

use super::{Found, Reader};
use crate::Error;
use crate::log::micros;

impl Reader {
    /// Carries out a read, or a part of one, and counts it when it has found something.
    pub(super) fn measured<T>(
        &mut self,
        read: impl FnOnce(&mut Reader) -> Result<Found<T>, Error>,
    ) -> Result<Found<T>, Error> {
        let now_us = |reader: &Reader| micros(reader.log.monotonic());
        let begun_us = self.begun_us.take().unwrap_or_else(|| now_us(self));
        let found = read(self);
        match &found {
            Ok(Found::NeedsDisk | Found::NeedsStore(_)) => self.begun_us = Some(begun_us),
            Ok(Found::Some(_)) => {
                let reads = &self.log.services.measurements.reads;
                reads.add(now_us(self).saturating_sub(begun_us));
            }
            Ok(Found::AtEnd) | Err(_) => {}
        }
        found
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use styx_protocol::{LogConfig, Position};

    use super::*;
    use crate::clock::Clock;
    use crate::{Catalog, Options};

    /// A monotonic clock that the test moves.
    #[derive(Debug, Default)]
    struct TestClock(AtomicU64);

    impl Clock for TestClock {
        fn wall_us(&self) -> u64 {
            1_770_000_000_000_000
        }
        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_read_that_needs_the_disk_is_measured_once_with_its_wait() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(TestClock::default());
        let catalog = Catalog::open(Options {
            committers_max: 0,
            scrub_bytes_per_second: 0,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..Options::new(directory.path())
        });
        let catalog = catalog.expect("opened");
        let name = "log".parse().expect("a name");
        let log = catalog.create(&name, LogConfig::default()).expect("created");
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        let reads = || {
            let snapshot = catalog.measurements().reads.snapshot();
            (snapshot.count(), snapshot.sum)
        };
        let _ = reader.measured::<()>(|_| Ok(Found::NeedsDisk));
        assert_eq!(reads(), (0, 0), "it is not over");
        clock.0.fetch_add(3000, Ordering::Relaxed);
        let _ = reader.measured(|_| Ok(Found::Some(())));
        assert_eq!(reads(), (1, 3000));
        clock.0.fetch_add(500, Ordering::Relaxed);
        let _ = reader.measured(|_| Ok(Found::Some(())));
        assert_eq!(reads(), (2, 3000), "the time between two reads is no read");
        let _ = reader.measured::<()>(|_| Err(Error::ShuttingDown));
        let _ = reader.measured::<()>(|_| Ok(Found::AtEnd));
        assert_eq!(reads(), (2, 3000));
    }
}
