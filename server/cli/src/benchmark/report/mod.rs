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
    /// Why the run does not count: which cases' limits moved too far.
    pub(super) fn invalid(&self) -> Option<String> {
        let moved = self.outcomes.iter().filter_map(|measured| {
            let (name, share) = measured.invalid()?;
            Some(format!("{} during {}", text::moved(name, share), measured.case))
        });
        let moved: Vec<_> = moved.collect();
        (!moved.is_empty()).then(|| moved.join(", "))
    }

    pub(super) fn written_as(&self, format: Format) -> String {
        match format {
            Format::Text => text::of(self),
            Format::Json => format!("{:#}\n", json::of(self)),
        }
    }
}
