//! The step `prometheus`: Prometheus and promtool, for the tests of the alert rules and of the
//! dashboard.
//!
//! They are the ones that are installed, or else those of the Debian package, unpacked into
//! `target/tools/prometheus`. The tests look in the same places (`tests/src/prometheus.rs`).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cross::debian::{Packages, THIS_MACHINE};
use crate::tally::Tally;
use crate::tools;

const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Whether both are there now. Installs what is missing.
pub(crate) fn step() -> Tally {
    Tally::step(is_installed() || is_unpacked())
}

fn is_installed() -> bool {
    PROGRAMS.into_iter().all(|program| works(Path::new(program)))
}

fn is_unpacked() -> bool {
    let folder = tools::target().join("tools/prometheus");
    // The programs are static. What the package depends on is for its pages.
    let root = Packages::besides_installed(folder, THIS_MACHINE).unpacked(&[], &["prometheus"]);
    let bin = root.map(|root| root.join("usr/bin"));
    let works = bin.is_some_and(|bin| PROGRAMS.iter().all(|program| works(&bin.join(program))));
    if !works {
        eprintln!(
            "missing: Prometheus, for the tests of contrib/: apt-get install prometheus, or check \
             the network and try again"
        );
    }
    works
}

fn works(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
