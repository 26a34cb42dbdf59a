//! Power cuts on real filesystems under load, many times: records acked before the cut
//! are there after it, every log opens, and none is reported as damaged.
//!
//! Needs root, loop devices and the filesystem's mkfs, and is skipped without them.
//! `styx_tests::faults` has the variable for more cycles.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::checker::Ledger;
use styx_tests::faults::{self, CYCLES_PER_SET, Faults, assert_appends_work};
use styx_tests::load::{LogPlan, Style, Workload};
use styx_tests::power::{Cutter, Filesystem, LoopDisk};
use styx_tests::{Scratch, Settings, TestServer, binary, strace};

use Style::{Batch, Idempotent, Single};

#[test]
fn no_promise_is_broken_by_a_power_cut_on_ext4() {
    Outages::of(Filesystem::Ext4).play(60);
}

#[test]
fn no_promise_is_broken_by_a_power_cut_on_xfs() {
    Outages::of(Filesystem::Xfs).play(60);
}

/// Every commit bypasses the page cache, not only the large ones.
#[test]
fn direct_writes_survive_a_power_cut_on_ext4() {
    Outages::of(Filesystem::Ext4).past_the_cache().play(20);
}

#[test]
fn direct_writes_survive_a_power_cut_on_xfs() {
    Outages::of(Filesystem::Xfs).past_the_cache().play(20);
}

/// The kernel writes pages in any order. Bytes after the first missing page are then
/// incomplete, but they are not damage.
#[test]
fn pages_written_out_of_order_on_ext4_are_a_torn_tail() {
    Outages::of(Filesystem::Ext4).with_pushed_pages().play(50);
}

#[test]
fn pages_written_out_of_order_on_xfs_are_a_torn_tail() {
    Outages::of(Filesystem::Xfs).with_pushed_pages().play(50);
}

/// A server on a disk whose power is cut.
struct Outages {
    filesystem: Filesystem,
    pushed_pages: bool,
    past_the_cache: bool,
}

impl Outages {
    fn of(filesystem: Filesystem) -> Outages {
        Outages { filesystem, pushed_pages: false, past_the_cache: false }
    }

    fn past_the_cache(self) -> Outages {
        Outages { past_the_cache: true, ..self }
    }

    /// Just before the cut, some pages of the newest segments are written to the disk.
    fn with_pushed_pages(self) -> Outages {
        Outages { pushed_pages: true, ..self }
    }

    fn play(self, cycles: u64) {
        let scratch = Arc::new(Scratch::new("power"));
        let mut disk = match LoopDisk::make(self.filesystem, &scratch) {
            Ok(disk) => disk,
            Err(why) => return faults::skip(&format!("{:?}: {why}", self.filesystem)),
        };
        let Faults { cycles, seed, mut random } = Faults::new(cycles);
        let mut cutter = Cutter::start();
        let mut server = self.settings(&scratch).start_in(scratch).expect("it can be started");
        let (mut acked, mut torn, mut done) = (0, 0, 0);
        let torn_min = if self.pushed_pages && cycles >= 50 { cycles / 10 + 1 } else { 0 };
        // On a slow disk, few appends are on their way at a cut, so it takes more cuts.
        let most = 4 * cycles;
        while done < cycles || (torn < torn_min && done < most) {
            let notes = Scratch::elsewhere("ledger");
            let ledger = Ledger::create(&notes.join("ledger"));
            let mut workload = Workload::start(&server, self.plans(done), ledger);
            let end = if done < cycles { cycles } else { most };
            for _ in 0..CYCLES_PER_SET.min(end - done) {
                workload.open(&server);
                // The power cut comes at a random moment.
                std::thread::sleep(Duration::from_millis(random.between(10, 120)));
                workload.lose_power(|| match self.pushed_pages {
                    true => cutter.cut_between_pages(disk.mount_point(), random.next_u64()),
                    false => cutter.cut(disk.mount_point()),
                });
                server.kill();
                workload.close();
                disk.remount();
                server.restart();
                workload.regain_power();
                torn += u64::from(assert_opened(&server));
                let violations = workload.audit(&server);
                assert!(violations.is_empty(), "cycle {done}, seed {seed}: {violations:#?}");
                assert_appends_work(&server);
                done += 1;
            }
            acked += workload.acked();
            workload.end(&server);
        }
        println!("{acked} records were acked, and every one was there; {torn} torn tails");
        assert!(
            acked > cycles * 5,
            "only {acked} records in {cycles} cycles, too few to test anything"
        );
        assert!(torn >= torn_min, "only {torn} torn tails in {done} cycles");
    }

    fn settings(&self, scratch: &Scratch) -> Settings {
        if self.past_the_cache {
            Settings::default().set_log_manager("direct_write_size = 0")
        } else if self.pushed_pages {
            // Each sync is delayed a little, so that most of the pages that are written
            // early are not synced yet.
            Settings::default().script(&strace::injecting(
                binary::styx(),
                scratch,
                "fdatasync:delay_enter=10000",
            ))
        } else {
            Settings::default()
        }
    }

    fn plans(&self, round: u64) -> Vec<LogPlan> {
        let plan = |name: &str, config: &str, producers: &[Style]| LogPlan {
            name: format!("{name}-{round}"),
            config: config.to_owned(),
            producers: producers.to_vec(),
            followers: 1,
            may_expire: config.contains("log_max"),
        };
        if self.pushed_pages {
            return vec![
                plan("plain", "", &[Batch, Batch, Batch]),
                plan("idempotent", "", &[Idempotent, Batch]),
                plan("size", "segment_max_size=65536", &[Batch, Batch]),
                plan("larger", "segment_max_size=262144", &[Batch, Batch, Single]),
            ];
        }
        vec![
            plan("count", "segment_max_count=30", &[Single, Batch, Idempotent]),
            plan("size", "segment_max_size=4096&index_after_size=256", &[Single, Idempotent]),
            plan("plain", "", &[Batch, Idempotent]),
            plan("expire", "segment_max_count=50&log_max_count=500", &[Batch, Idempotent]),
        ]
    }
}

/// Checks that every log opened without an error. Returns whether one had a torn tail.
fn assert_opened(server: &TestServer) -> bool {
    let log = server.log();
    assert!(!log.contains("corrupt") && !log.contains("panicked"), "{log}");
    log.contains("cut off what a crash left")
}
