//! [`Report`]: the results of a run, as a table for people or as JSON for programs.
//! Both have the same content, and both say whether the run is valid.

mod json;
mod text;

pub(super) use text::{change, limits_in_short, summary};

use super::conditions::Conditions;
use super::machine::Limits;
use super::plan::Case;
use super::reference_limits::MeasuredCase;

/// The results of a run.
#[derive(Debug)]
pub struct Report {
    pub(super) conditions: Conditions,
    pub(super) before: Limits,
    pub(super) after: Limits,
    pub(super) outcomes: Vec<MeasuredCase>,
}

impl Report {
    /// Why the run is invalid: which limits changed by more than 20 %, between the first
    /// and the last measurement or during a case. Only limits count that a case of the run is
    /// compared with. `None` if the run is valid.
    pub fn invalid(&self) -> Option<String> {
        let cases = self.outcomes.iter().map(|measured| measured.case);
        let used: Vec<_> = cases.flat_map(Case::limits).copied().collect();
        let whole = self.before.changed_too_much(&self.after, &used);
        let whole = whole.map(|(name, share)| (name, share, "the run".to_owned()));
        let cases = self.outcomes.iter().filter_map(|measured| {
            let (name, share) = measured.invalid()?;
            Some((name, share, measured.case.to_string()))
        });
        let changes = whole.into_iter().chain(cases);
        let changes: Vec<_> = changes
            .map(|(name, share, during)| format!("{} during {during}", text::change(name, share)))
            .collect();
        (!changes.is_empty()).then(|| changes.join(", "))
    }

    /// Whether the run was brief (`--quick`), so that no figure counts.
    pub fn is_quick(&self) -> bool {
        self.conditions.quick
    }

    /// The report as a table for people.
    pub fn to_text(&self) -> String {
        text::of(self)
    }

    /// The report as indented JSON with a final newline.
    pub fn to_json(&self) -> String {
        format!("{:#}\n", json::of(self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::{Outcome, Protocol};
    use crate::payload::PayloadKind;

    fn report(case: Case, last_disk: f64, sync_after_us: u64) -> Report {
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: true,
            read: 2e9,
            read_way: "",
            sync: Duration::from_micros(100),
            loopback: 3e9,
            round_trip: Duration::from_micros(50),
        };
        let conditions = Conditions {
            version: "1",
            server: "here".to_owned(),
            server_is_child: true,
            directory: ".".to_owned(),
            filesystem: "ext4".to_owned(),
            kernel: "Linux".to_owned(),
            cores: 2,
            memory_bytes: 1,
            date: "today".to_owned(),
            rounds: 1,
            seconds: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            rate: 1,
            quick: false,
        };
        let measured = MeasuredCase {
            case,
            outcome: Outcome::empty("paced"),
            before: limits,
            after: Limits { sync: Duration::from_micros(sync_after_us), ..limits },
        };
        let after = Limits { disk: last_disk, ..limits };
        Report { conditions, before: limits, after, outcomes: vec![measured] }
    }

    #[test]
    fn run_is_invalid_when_a_limit_that_its_cases_use_changed() {
        let produce = Case::Produce(Protocol::Http, PayloadKind::Json);
        let paced = Case::Paced(Protocol::Http);
        for (case, last_disk, sync_after_us, why) in [
            (produce, 1.1e9, 115, None),
            (produce, 1.5e9, 115, Some("DISK changed by 50 % during the run")),
            (produce, 1.1e9, 130, None),
            (paced, 1.5e9, 115, None),
            (paced, 1.1e9, 130, Some("SYNC changed by 30 % during paced over http")),
            (Case::Memory, 0.5e9, 50, None),
        ] {
            let report = report(case, last_disk, sync_after_us);
            assert_eq!(report.invalid().as_deref(), why);
            let text = report.to_text();
            assert_eq!(text.contains("\nVALID: "), why.is_none(), "{text}");
            assert!(why.is_none_or(|why| text.contains(&format!("\nINVALID: {why}."))), "{text}");
            let json = report.to_json();
            assert_eq!(json.contains("\"valid\": true"), why.is_none(), "{json}");
        }
    }
}
