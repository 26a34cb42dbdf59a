//! The step `node-types`: tsc checks TypeScript code of users, and tsd the
//! types that they get.

use super::{build, client, files, program};
use crate::run;
use crate::tally::Tally;

/// Both checks run even if the first one fails.
pub(crate) fn step() -> Tally {
    if !build::is_built() {
        return Tally::step(false);
    }
    let checked = tsc();
    Tally::step(tsd() && checked)
}

/// `tsconfig.users.json` says which files.
fn tsc() -> bool {
    let Some(mut tsc) = program("tsc") else { return false };
    run("tsc", tsc.args(["--noEmit", "--project", "tsconfig.users.json"]))
}

/// Tests of types are in `test`, and have names such as `client.test-d.ts`.
fn tsd() -> bool {
    let tests = files::below(&client().join("test"), &[".test-d.ts", ".test-d.mts"]);
    let Some(mut tsd) = program("tsd") else { return false };
    for test in &tests {
        tsd.arg("--files").arg(test.strip_prefix(client()).unwrap_or(test));
    }
    tests.is_empty() || run("tsd", &mut tsd)
}
