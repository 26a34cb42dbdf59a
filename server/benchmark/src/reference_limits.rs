//! [`ReferenceLimits`]: measures the limits of the machine right before and right after
//! each case, and repeats a case whose limits changed too much.
//!
//! ```text
//! limits ─ case ─ limits ─ case ─ limits
//!             └ DISK changed by 31 %: the case is measured again, up to 3 times in total
//! ```

use std::path::PathBuf;
use std::time::Duration;

use super::machine::{Limit, Limits};
use super::outcome::Outcome;
use super::plan::Case;
use crate::Error;

/// How often a case is measured at most while its limits change too much.
const ATTEMPTS_MAX: usize = 3;

/// The outcome of a case, with the limits right before and right after it. Limits that
/// the case is not compared with keep their last measured value.
#[derive(Debug)]
pub(super) struct MeasuredCase {
    pub(super) case: Case,
    pub(super) outcome: Outcome,
    pub(super) before: Limits,
    pub(super) after: Limits,
}

impl MeasuredCase {
    /// The mean of both measurements, which the figures are compared with.
    pub(super) fn limits(&self) -> Limits {
        self.before.mean(self.after)
    }

    /// The limit that changed most during the case and by which share, if the change is
    /// too large for the figures to count.
    pub(super) fn invalid(&self) -> Option<(&'static str, f64)> {
        self.before.changed_too_much(&self.after, self.case.limits())
    }
}

/// Measures the limits of the machine between cases.
pub(super) struct ReferenceLimits {
    directory: PathBuf,
    /// The time of one measurement of one limit.
    time: Duration,
    attempts_max: usize,
    /// The last measured values.
    latest: Limits,
    /// The limits that were measured after the last case. They need no new measurement
    /// before the next case.
    fresh: Vec<Limit>,
}

impl ReferenceLimits {
    /// Measures all limits once. A `quick` run never repeats a case.
    ///
    /// # Errors
    /// A limit cannot be measured.
    pub(super) fn measure_first(
        directory: PathBuf,
        time: Duration,
        quick: bool,
    ) -> Result<ReferenceLimits, Error> {
        let attempts_max = if quick { 1 } else { ATTEMPTS_MAX };
        let (latest, fresh) = (Limits::default(), Vec::new());
        let mut reference = ReferenceLimits { directory, time, attempts_max, latest, fresh };
        reference.refresh(&Limit::ALL)?;
        Ok(reference)
    }

    /// The last measured values.
    pub(super) fn latest(&self) -> Limits {
        self.latest
    }

    /// Measures all limits again.
    ///
    /// # Errors
    /// A limit cannot be measured.
    pub(super) fn measure_all(&mut self) -> Result<Limits, Error> {
        self.fresh.clear();
        self.refresh(&Limit::ALL)
    }

    /// Measures a case and its limits. If a limit changed too much, calls `again` with
    /// the limit and the change and repeats the case. The last attempt is returned even
    /// if a limit changed too much.
    ///
    /// # Errors
    /// The case fails, or a limit cannot be measured.
    pub(super) fn run(
        &mut self,
        case: Case,
        mut run: impl FnMut(Case) -> Result<Outcome, Error>,
        mut again: impl FnMut(&'static str, f64),
    ) -> Result<MeasuredCase, Error> {
        let which = case.limits();
        let mut attempts = 1;
        loop {
            let before = self.refresh(which)?;
            let outcome = run(case)?;
            self.fresh.clear();
            let after = self.refresh(which)?;
            let measured = MeasuredCase { case, outcome, before, after };
            match measured.invalid() {
                Some((name, share)) if attempts < self.attempts_max => again(name, share),
                _ => return Ok(measured),
            }
            attempts += 1;
        }
    }

    /// Measures those of `which` that are not fresh, and returns all limits.
    fn refresh(&mut self, which: &[Limit]) -> Result<Limits, Error> {
        let stale: Vec<Limit> =
            which.iter().copied().filter(|limit| !self.fresh.contains(limit)).collect();
        let limits = self.latest.measure(&stale, &self.directory, self.time);
        self.latest = limits
            .map_err(|error| Error::Failed(format!("{}: {error}", self.directory.display())))?;
        self.fresh = which.to_vec();
        Ok(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Protocol;

    #[test]
    fn case_is_measured_again_when_a_limit_changed() {
        let time = Duration::from_millis(2);
        let mut reference =
            ReferenceLimits::measure_first(std::env::temp_dir(), time, false).expect("limits");
        // A SYNC that no disk has, so that the first real measurement is a large change.
        let (mut runs, mut told) = (0, Vec::new());
        let slow = Limits { sync: Duration::from_secs(9), ..reference.latest };
        let case = Case::Paced(Protocol::Http);
        reference.fresh = case.limits().to_vec();
        reference.latest = slow;
        let mut run = |_| {
            runs += 1;
            Ok(Outcome::empty("paced"))
        };
        let measured =
            reference.run(case, &mut run, |name, _| told.push(name)).expect("no failure");
        assert_eq!(told.first(), Some(&"SYNC"), "the first try began when syncs took 9 s");
        assert!(runs == 1 + told.len() && runs <= ATTEMPTS_MAX, "{runs}, {told:?}");
        assert!(measured.before.sync < slow.sync, "the next attempt uses the new measurement");
    }
}
