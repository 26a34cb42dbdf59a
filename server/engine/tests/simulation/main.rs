//! The whole engine on a simulated disk and clock: power cuts, kills, lost and
//! torn pages, lost names, forged and copied blocks in payloads, rot, errors.
//!
//! A run is one seed; `STYX_SEED=n cargo test -p styx-engine --test simulation`
//! repeats it. `STYX_SEEDS=n` runs so many.
#![allow(clippy::disallowed_methods, reason = "the environment names the seeds")]

mod ages;
mod clock;
mod damage;
mod disk;
mod faults;
mod random;
mod run;
mod world;

use run::Run;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_a_crash_leaves_the_log_holds_what_was_acked() {
    let seeds = match number("STYX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STYX_SEEDS").unwrap_or(2000),
    };
    let count = seeds.end - seeds.start;
    let mut totals = run::Totals::default();
    for seed in seeds {
        let mut run = Run::new(seed);
        if let Err(fault) = run.play() {
            panic!("STYX_SEED={seed}: {fault}");
        }
        totals.add(&run.totals);
    }
    println!("{count} seeds: {totals:?}");
    if count >= 100 {
        assert!(totals.power_cuts > count && totals.rolls > count && totals.rot > count / 10);
        assert!(totals.begun > count && totals.fenced > count / 10 && totals.repeated > count / 10);
    }
}
