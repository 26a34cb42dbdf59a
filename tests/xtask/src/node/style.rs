//! The step `node-style`: biome checks the format and the code of all JavaScript, TypeScript and
//! JSON files of the packages and the examples.
//!
//! Its rules are in `bindings/node/biome.json`.

use super::{EXAMPLES, SERVER, program};
use crate::tally::Tally;
use crate::{root, run};

/// See the module.
pub(crate) fn step() -> Tally {
    let Some(mut biome) = program("biome") else { return Tally::step(false) };
    biome.args(["check", "--error-on-warnings", "."]);
    biome.args([&[SERVER][..], &EXAMPLES].concat().into_iter().map(|folder| root().join(folder)));
    let passed = run("biome", &mut biome);
    if !passed {
        eprintln!("format with: (cd bindings/node && npx biome check --write . FOLDER)");
    }
    Tally::step(passed)
}
