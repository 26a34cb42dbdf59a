//! What a run found, as a table for people or as JSON for programs; both say
//! the same, and both say when it does not count.

mod json;
mod text;

pub(super) use text::{limits_in_short, moved, summary};

use super::beside::Measured;
use super::conditions::Conditions;
use super::machine::Limits;
use crate::command_line::Format;

/// Everything that a run found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) conditions: Conditions,
    pub(super) before: Limits,
    pub(super) after: Limits,
    pub(super) outcomes: Vec<Measured>,
}

impl Report {
    /// Why the run does not count: which limits moved too far from the first
    /// measurement to the last, and during which cases.
    pub(super) fn invalid(&self) -> Option<String> {
        let whole = self.before.moved_too_far(&self.after);
        let whole = whole.map(|(name, share)| (name, share, "the run".to_owned()));
        let cases = self.outcomes.iter().filter_map(|measured| {
            let (name, share) = measured.invalid()?;
            Some((name, share, measured.case.to_string()))
        });
        let moved = whole.into_iter().chain(cases);
        let moved: Vec<_> = moved
            .map(|(name, share, during)| format!("{} during {during}", text::moved(name, share)))
            .collect();
        (!moved.is_empty()).then(|| moved.join(", "))
    }

    pub(super) fn written_as(&self, format: Format) -> String {
        match format {
            Format::Text => text::of(self),
            Format::Json => format!("{:#}\n", json::of(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::benchmark::outcome::{Outcome, Protocol};
    use crate::benchmark::plan::Case;

    fn report(last_disk: f64, sync_after_us: u64) -> Report {
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: true,
            sync: Duration::from_micros(100),
            loopback: 3e9,
            round_trip: Duration::from_micros(50),
        };
        let conditions = Conditions {
            version: "1",
            server: "here".to_owned(),
            alone: true,
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
        let measured = Measured {
            case: Case::Paced(Protocol::Http),
            outcome: Outcome::nothing("paced"),
            before: limits,
            after: Limits { sync: Duration::from_micros(sync_after_us), ..limits },
        };
        let after = Limits { disk: last_disk, ..limits };
        Report { conditions, before: limits, after, outcomes: vec![measured] }
    }

    #[test]
    fn a_run_does_not_count_when_a_limit_moved_in_it_or_in_one_of_its_cases() {
        for (last_disk, sync_after_us, why) in [
            (1.1e9, 115, None),
            (1.5e9, 115, Some("DISK moved 50 % during the run")),
            (1.1e9, 130, Some("SYNC moved 30 % during paced over http")),
            (
                0.5e9,
                50,
                Some("DISK moved 100 % during the run, SYNC moved 100 % during paced over http"),
            ),
        ] {
            let report = report(last_disk, sync_after_us);
            assert_eq!(report.invalid().as_deref(), why);
            let text = report.written_as(Format::Text);
            assert_eq!(text.contains("\nVALID: "), why.is_none(), "{text}");
            assert!(why.is_none_or(|why| text.contains(&format!("\nINVALID: {why}."))), "{text}");
            let json = report.written_as(Format::Json);
            assert_eq!(json.contains("\"valid\": true"), why.is_none(), "{json}");
        }
    }
}
