//! [`Checker`]: holds what was read back against what makers made.

use std::sync::Arc;

use super::{Stamp, Templates};

/// Checks that what is read is what makers made: each producer's records from
/// its first on, none missing, none twice, none changed.
#[derive(Debug)]
pub(in crate::benchmark) struct Checker {
    templates: Arc<Templates>,
    /// The index that each producer's next record has.
    next: Vec<u64>,
    checked: u64,
}

impl Checker {
    pub(in crate::benchmark) fn new(templates: &Arc<Templates>, producers: usize) -> Checker {
        Checker { templates: Arc::clone(templates), next: vec![0; producers], checked: 0 }
    }

    /// Holds the next record against what its producer wrote next.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::benchmark) fn check(&mut self, payload: &[u8]) -> Result<(), String> {
        let (kind, at) = (self.templates.kind(), self.checked);
        let stamp = Stamp::read(kind, payload)
            .ok_or_else(|| format!("record {at} is none that was written"))?;
        let Stamp { producer, index } = stamp;
        let next = self
            .next
            .get_mut(usize::from(producer))
            .ok_or_else(|| format!("record {at} is of producer {producer}, which there is not"))?;
        if index != *next {
            return Err(format!(
                "record {at} is number {index} of producer {producer}, whose next is {next}"
            ));
        }
        if !Stamp::frames(kind, payload, self.templates.of(index)) {
            return Err(format!("record {at}, number {index} of producer {producer}, is changed"));
        }
        *next += 1;
        self.checked += 1;
        Ok(())
    }

    /// Records that were right.
    pub(in crate::benchmark) fn checked(&self) -> u64 {
        self.checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::payload::Kind;

    fn payload(templates: &Templates, producer: u16, index: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        templates.append(Stamp { producer, index }, &mut payload);
        payload
    }

    #[test]
    fn what_was_made_is_right_and_nothing_else_is() {
        for kind in [Kind::Random(10), Kind::Random(100), Kind::Json] {
            let templates = Arc::new(Templates::new(kind));
            let mut checker = Checker::new(&templates, 2);
            for (producer, index) in [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)] {
                let payload = payload(&templates, producer, index);
                checker.check(&payload).expect("it is next");
            }
            assert_eq!(checker.checked(), 5);
            let mut refused = |producer, index, why: &str| {
                let error = checker.check(&payload(&templates, producer, index)).expect_err(why);
                assert!(error.contains(why), "{error}");
            };
            refused(0, 3, "whose next is 2");
            refused(0, 1, "whose next is 2");
            refused(2, 0, "which there is not");
            assert!(checker.check(b"").is_err());
            assert_eq!(checker.checked(), 5, "what is wrong does not count");
        }
    }

    #[test]
    fn a_changed_byte_and_a_cut_one_are_noticed() {
        let templates = Arc::new(Templates::new(Kind::Random(100)));
        let mut wrong = payload(&templates, 0, 0);
        wrong[99] ^= 1;
        assert!(Checker::new(&templates, 1).check(&wrong).is_err());
        wrong[99] ^= 1;
        assert!(Checker::new(&templates, 1).check(&wrong[..99]).is_err());
        Checker::new(&templates, 1).check(&wrong).expect("as it was made");
    }
}
