//! [`RecordChecker`]: compares records that were read back with the records that the
//! generators made.

use std::sync::Arc;

use super::{Stamp, Templates};

/// Checks that every producer's records are read from its first one on: none missing,
/// none twice, none changed.
#[derive(Debug)]
pub(crate) struct RecordChecker {
    templates: Arc<Templates>,
    /// The index of each producer's next record.
    next: Vec<u64>,
    checked: u64,
}

impl RecordChecker {
    pub(crate) fn new(templates: &Arc<Templates>, producers: usize) -> RecordChecker {
        RecordChecker { templates: Arc::clone(templates), next: vec![0; producers], checked: 0 }
    }

    /// Checks the next record.
    ///
    /// # Errors
    /// A description of what is wrong with the record.
    pub(crate) fn check(&mut self, payload: &[u8]) -> Result<(), String> {
        let (kind, at) = (self.templates.kind(), self.checked);
        let stamp = Stamp::read(kind, payload)
            .ok_or_else(|| format!("record {at} was not written by the benchmark"))?;
        let Stamp { producer, index } = stamp;
        let next = self
            .next
            .get_mut(usize::from(producer))
            .ok_or_else(|| format!("record {at} has an unknown producer {producer}"))?;
        if index != *next {
            return Err(format!(
                "record {at} is number {index} of producer {producer}, expected number {next}"
            ));
        }
        if !Stamp::matches_outside(kind, payload, self.templates.of(index)) {
            return Err(format!(
                "record {at} (number {index} of producer {producer}) has different bytes than written"
            ));
        }
        *next += 1;
        self.checked += 1;
        Ok(())
    }

    /// The number of correct records so far.
    pub(crate) fn checked(&self) -> u64 {
        self.checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadKind;

    fn payload(templates: &Templates, producer: u16, index: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        templates.append(Stamp { producer, index }, &mut payload);
        payload
    }

    #[test]
    fn records_out_of_order_and_of_unknown_producers_are_refused() {
        for kind in [PayloadKind::Random(10), PayloadKind::Random(100), PayloadKind::Json] {
            let templates = Arc::new(Templates::new(kind));
            let mut checker = RecordChecker::new(&templates, 2);
            for (producer, index) in [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)] {
                let payload = payload(&templates, producer, index);
                checker.check(&payload).expect("it is next");
            }
            assert_eq!(checker.checked(), 5);
            let mut refused = |producer, index, why: &str| {
                let error = checker.check(&payload(&templates, producer, index)).expect_err(why);
                assert!(error.contains(why), "{error}");
            };
            refused(0, 3, "expected number 2");
            refused(0, 1, "expected number 2");
            refused(2, 0, "unknown producer 2");
            assert!(checker.check(b"").is_err());
            assert_eq!(checker.checked(), 5, "wrong records do not count");
        }
    }

    #[test]
    fn changed_and_missing_bytes_are_noticed() {
        let templates = Arc::new(Templates::new(PayloadKind::Random(100)));
        let mut wrong = payload(&templates, 0, 0);
        wrong[99] ^= 1;
        assert!(RecordChecker::new(&templates, 1).check(&wrong).is_err());
        wrong[99] ^= 1;
        assert!(RecordChecker::new(&templates, 1).check(&wrong[..99]).is_err());
        RecordChecker::new(&templates, 1).check(&wrong).expect("as it was made");
    }
}
