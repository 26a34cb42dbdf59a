//! What a run found, as a table for people or as JSON for programs; both say
//! the same, and both say when it does not count.

mod json;
mod text;

pub(super) use text::{limits_in_short, summary};

use super::conditions::Conditions;
use super::machine::{DRIFT_MAX, Limits};
use super::outcome::Outcome;
use crate::command_line::Format;

/// Everything that a run found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) conditions: Conditions,
    pub(super) before: Limits,
    pub(super) after: Limits,
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    /// What shares are shares of.
    fn limits(&self) -> Limits {
        self.before.middle(self.after)
    }

    /// The limit that moved most, by which share, if that is too far for the run
    /// to count.
    pub(super) fn invalid(&self) -> Option<(&'static str, f64)> {
        Some(self.before.drift(self.after)).filter(|(_, share)| *share > DRIFT_MAX)
    }

    pub(super) fn written_as(&self, format: Format) -> String {
        match format {
            Format::Text => text::of(self),
            Format::Json => format!("{:#}\n", json::of(self)),
        }
    }
}
