//! Tests the whole engine on a simulated disk and clock. The simulation includes power cuts, kills,
//! lost and torn pages, lost names, forged and copied blocks in payloads, bit rot and I/O errors. In
//! half of the runs, segments are archived in a simulated object store, and evicted.
//!
//! Each run has one seed. `STYX_SEED=n cargo test -p styx-engine --test simulation` repeats a run,
//! and `STYX_SEEDS=n` sets the number of seeds.

mod ages;
mod archive;
mod clock;
mod cursors;
mod damage;
mod deletion;
mod disk;
mod faults;
mod measurements;
mod random;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod world;
mod wrong_clock;

use std::sync::Mutex;

use run::Run;

#[test]
fn acked_records_survive_any_crash() {
    let seeds = support::seeds();
    let count = seeds.end - seeds.start;
    let totals = Mutex::new(run::Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let (seeds, totals) = (seeds.clone().skip(first).step_by(threads), &totals);
            scope.spawn(move || {
                for seed in seeds {
                    let mut run = Run::new(seed);
                    if let Err(fault) = run.play() {
                        panic!("STYX_SEED={seed}: {fault}");
                    }
                    totals.lock().expect("no seed failed").add(&run.totals);
                }
            });
        }
    });
    let totals = totals.into_inner().expect("no seed failed");
    println!("{count} seeds: {totals:?}");
    if count >= 100 {
        assert!(totals.power_cuts > count && totals.rolls > count && totals.rot > count / 10);
        assert!(totals.archived > count && totals.evicted > count / 2);
        assert!(totals.collected > count / 10 && totals.archive_rot > count / 10);
        assert!(totals.begun > count && totals.fenced > count / 10 && totals.repeated > count / 10);
    }
}
