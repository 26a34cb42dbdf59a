//! Shared by all fault loops: the number of cycles, the seed, and the check
//! whether appends work after a fault.
//!
//! `STYX_FAULT_CYCLES` sets the number of cycles (`cargo xtask faults --cycles N`).
//! `STYX_FAULT_SEED` repeats the random timing of an earlier run.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::random::Random;
use crate::{Connection, Request, Scratch, TestServer, api, binary, wait};

/// Cycles with the same set of logs. Then the logs are deleted and created again.
pub const CYCLES_PER_SET: u64 = 10;

/// The length of a fault loop, and the timing of its faults.
#[derive(Debug)]
pub struct Faults {
    /// The number of cycles.
    pub cycles: u64,
    /// The seed. The same seed repeats the timing.
    pub seed: u64,
    /// The random numbers that determine the timing.
    pub random: Random,
}

impl Faults {
    /// Uses this number of cycles, unless the environment overrides it.
    ///
    /// # Panics
    /// When the variable is not a number.
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

/// Reports that the calling test cannot run on this machine, and why. `cargo xtask test`
/// then counts it as skipped.
pub fn skip(why: &str) {
    // Not `println!`: libtest hides that output of a test that passes.
    let _ = std::io::stdout().write_all(format!("\nskipped: {why}\n").as_bytes());
}

/// A script that runs the server with a data directory of `mib` MiB.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn small_disk(scratch: &Scratch, mib: u64) -> PathBuf {
    let data = scratch.join("data").display().to_string();
    let styx = binary::styx().display();
    // The mount is in the server's own namespace and ends with it.
    let text = format!(
        "export STYX='{styx}' DATA='{data}'\nexec unshare -Urm sh -c '\
         mount -t tmpfs -o size={mib}m none \"$DATA\" && exec \"$STYX\" \"$@\"' styx \"$@\"\n"
    );
    std::fs::create_dir_all(data).expect("the data directory");
    scratch.write("on-a-small-disk", &text)
}

/// Checks that an append to a separate log succeeds within five seconds.
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
