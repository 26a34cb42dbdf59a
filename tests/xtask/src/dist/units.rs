//! What systemd thinks of the units: they have no mistake, and little is exposed.

use std::process::Command;

use super::platform::HERE;
use super::script::{script, succeeds};
use crate::root;

/// The highest exposure of a service that is accepted, in tenths.
const EXPOSURE_MAX: &str = "20";

/// Checks all units.
pub(super) fn check() -> Option<()> {
    let mut units = script("units.sh");
    units.arg(super::source("")).arg(HERE.binary()?).arg(EXPOSURE_MAX);
    succeeds("units.sh", &mut units)?;
    let mut shellcheck = Command::new("bash");
    let scripts = "cd packaging && shellcheck -x -P tests scripts/* tests/*.sh debian/*/p*";
    succeeds("shellcheck", shellcheck.args(["-c", scripts]).current_dir(root()))
}
