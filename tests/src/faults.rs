//! What all loops of faults share: how many cycles, from which seed, and what
//! must work once the fault is over.
//!
//! `STYX_FAULT_CYCLES` asks for another number of cycles (`cargo xtask faults
//! --cycles N`), `STYX_FAULT_SEED` for the moments of an earlier run.

use std::io::Write as _;
use std::time::Duration;

use crate::random::Random;
use crate::{Connection, Request, TestServer, api, wait};

/// Cycles in which one set of logs is used; then it is deleted and made anew.
pub const CYCLES_PER_SET: u64 = 10;

/// How long a loop is, and when its faults come.
#[derive(Debug)]
pub struct Faults {
    /// How many.
    pub cycles: u64,
    /// What repeats them.
    pub seed: u64,
    /// Their moments.
    pub random: Random,
}

impl Faults {
    /// So many, unless the environment says otherwise.
    ///
    /// # Panics
    /// When the environment says something that is no number.
    #[must_use]
    pub fn new(cycles: u64) -> Faults {
        let cycles = number("STYX_FAULT_CYCLES").unwrap_or(cycles);
        let seed = number("STYX_FAULT_SEED").unwrap_or_else(Random::fresh_seed);
        println!("{cycles} cycles with STYX_FAULT_SEED={seed}");
        Faults { cycles, seed, random: Random::new(seed) }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value}, not a number")))
}

/// Says that the test which calls this does not prove anything here, and why.
/// `cargo xtask test` then counts it as skipped.
pub fn skip(why: &str) {
    // Not `println!`, which is kept from a test's output while it passes.
    let _ = std::io::stdout().write_all(format!("\nskipped: {why}\n").as_bytes());
}

/// An append to a log of its own, within five seconds of the restart.
///
/// # Panics
/// When there is none.
pub fn assert_appends_work(server: &TestServer) {
    wait::until_true("an append after the fault", Duration::from_secs(5), || {
        let ask = |request: &Request| {
            Connection::try_open(server.address()).and_then(|mut c| c.exchange(request))
        };
        let _ = ask(&Request::post("/logs").form("name=after"));
        ask(&api::write_one("after", "x")).is_ok_and(|answer| answer.status() == 200)
    });
}
