//! [`Measured`]: what a case gave, beside its own limits, measured right before
//! it and right after it.
//!
//! ```text
//! limits ─ case ─ limits ─ case ─ limits
//!             └ DISK moved 31 %: measured again, up to three times in all
//! ```

use std::path::PathBuf;
use std::time::Duration;

use super::machine::{Limit, Limits};
use super::outcome::Outcome;
use super::plan::Case;
use crate::failure::Failure;

/// How often a case is measured until its limits hold still.
const TRIES: usize = 3;

/// What a case gave, and the limits right before and after it: of those that it is
/// not held against, what was measured last.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) outcome: Outcome,
    pub(super) before: Limits,
    pub(super) after: Limits,
}

impl Measured {
    /// What shares are shares of.
    pub(super) fn limits(&self) -> Limits {
        self.before.middle(self.after)
    }

    /// The limit of its own that moved most, by which share, if that is too far for
    /// the figures to count.
    pub(super) fn invalid(&self) -> Option<(&'static str, f64)> {
        self.before.moved_too_far(&self.after)
    }
}

/// Measures limits between cases.
pub(super) struct Beside {
    directory: PathBuf,
    /// For each measurement of a limit.
    time: Duration,
    tries: usize,
    /// The limits as they were measured last.
    latest: Limits,
    /// Which of them were measured after the last case, and with nothing since.
    fresh: Vec<Limit>,
}

impl Beside {
    /// Measures all limits. In little, a limit that moves changes nothing.
    ///
    /// # Errors
    /// One cannot be measured.
    pub(super) fn new(directory: PathBuf, time: Duration, quick: bool) -> Result<Beside, Failure> {
        let tries = if quick { 1 } else { TRIES };
        let latest = Limits::default();
        let mut beside = Beside { directory, time, tries, latest, fresh: Vec::new() };
        beside.refresh(&Limit::ALL)?;
        Ok(beside)
    }

    /// The limits as they were measured last.
    pub(super) fn latest(&self) -> Limits {
        self.latest
    }

    /// All limits, measured again.
    ///
    /// # Errors
    /// One cannot be measured.
    pub(super) fn measure(&mut self) -> Result<Limits, Failure> {
        self.fresh.clear();
        self.refresh(&Limit::ALL)
    }

    /// Measures a case between its limits, again when one of them moved too far;
    /// each time but the last is told to `again`.
    ///
    /// # Errors
    /// The case fails, or a limit cannot be measured.
    pub(super) fn run(
        &mut self,
        case: Case,
        mut run: impl FnMut(Case) -> Result<Outcome, Failure>,
        mut again: impl FnMut(&'static str, f64),
    ) -> Result<Measured, Failure> {
        let which = case.limits();
        let mut tries = 1;
        loop {
            let before = self.refresh(which)?;
            let outcome = run(case)?;
            self.fresh.clear();
            let after = self.refresh(which)?;
            let measured = Measured { case, outcome, before, after };
            match measured.invalid() {
                Some((name, share)) if tries < self.tries => again(name, share),
                _ => return Ok(measured),
            }
            tries += 1;
        }
    }

    /// The limits, these of them as they are now.
    fn refresh(&mut self, which: &[Limit]) -> Result<Limits, Failure> {
        let stale: Vec<Limit> =
            which.iter().copied().filter(|limit| !self.fresh.contains(limit)).collect();
        let limits = self.latest.again(&stale, &self.directory, self.time);
        self.latest = limits
            .map_err(|error| Failure::Failed(format!("{}: {error}", self.directory.display())))?;
        self.fresh = which.to_vec();
        Ok(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::outcome::Protocol;

    #[test]
    fn a_case_whose_limits_moved_is_measured_again_and_says_so_in_the_end() {
        let time = Duration::from_millis(2);
        let mut beside =
            Beside::new(std::env::temp_dir(), time, false).expect("a disk and a loopback");
        // Waits that no sync or round trip comes near are what moves here.
        let (mut runs, mut told) = (0, Vec::new());
        let slow = Limits { sync: Duration::from_secs(9), ..beside.latest };
        let case = Case::Paced(Protocol::Http);
        beside.fresh = case.limits().to_vec();
        beside.latest = slow;
        let mut run = |_| {
            runs += 1;
            Ok(Outcome::nothing("paced"))
        };
        let measured = beside.run(case, &mut run, |name, _| told.push(name)).expect("no failure");
        assert_eq!(told.first(), Some(&"SYNC"), "the first try began when syncs took 9 s");
        assert!(runs == 1 + told.len() && runs <= TRIES, "{runs}, {told:?}");
        assert!(measured.before.sync < slow.sync, "the next began where the first ended");
    }
}
