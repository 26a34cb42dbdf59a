//! kill -9 at random moments under load, many times: the checker audits every promise
//! each time.
//!
//! Segments are tiny, so that kills hit rolls. `styx_tests::faults` has the variables
//! for more cycles and for the seed of an earlier run.

use std::time::Duration;

use styx_tests::checker::Ledger;
use styx_tests::faults::{CYCLES_PER_SET, Faults, assert_appends_work};
use styx_tests::load::{LogPlan, Style, Workload};
use styx_tests::random::Random;
use styx_tests::{Scratch, Settings, TestServer};

#[test]
fn no_promise_is_broken_by_kill_9() {
    let Faults { cycles, seed, mut random } = Faults::new(100);
    let mut server = Settings::default().set("shutdown_timeout = 5").start();
    let (mut acked, mut done) = (0, 0);
    while done < cycles {
        let ledger = Scratch::elsewhere("ledger");
        let ledger = (Ledger::create(&ledger.join("ledger")), ledger);
        let mut workload = Workload::start(&server, plans(done), ledger.0);
        for _ in 0..CYCLES_PER_SET.min(cycles - done) {
            workload.open(&server);
            // The fault comes at a random moment.
            std::thread::sleep(Duration::from_millis(random.between(20, 350)));
            strike(&mut server, &mut random);
            workload.close();
            restart(&mut server, &mut random);
            let violations = workload.audit(&server);
            assert!(violations.is_empty(), "cycle {done}, seed {seed}: {violations:#?}");
            assert_appends_work(&server);
            done += 1;
        }
        acked += workload.acked();
        workload.end(&server);
    }
    println!("{acked} records were acked, and every one was there");
    assert!(
        acked > cycles * 20,
        "only {acked} records in {cycles} cycles, too few to test anything"
    );
}

fn plans(round: u64) -> Vec<LogPlan> {
    use Style::{Batch, Idempotent, Single};
    let plan = |name: &str, config: &str, producers: &[Style]| LogPlan {
        name: format!("{name}-{round}"),
        config: config.to_owned(),
        producers: producers.to_vec(),
        followers: 1,
        may_expire: config.contains("log_max"),
    };
    vec![
        plan("count", "segment_max_count=50", &[Single, Batch, Idempotent]),
        plan("size", "segment_max_size=4096&index_after_size=256", &[Single, Idempotent]),
        plan("plain", "", &[Batch, Batch]),
        plan("expire", "segment_max_count=50&log_max_count=500", &[Batch, Idempotent]),
    ]
}

/// Mostly SIGKILL. One time in ten an orderly stop, which must keep the same promises.
fn strike(server: &mut TestServer, random: &mut Random) {
    if random.between(0, 10) == 0 {
        let stopped = server.stop();
        assert!(stopped.status.success(), "{stopped:?}");
    } else {
        server.kill();
    }
}

/// One time in eight, the server is killed again while it recovers.
fn restart(server: &mut TestServer, random: &mut Random) {
    if random.between(0, 8) == 0 {
        server.begin_restart();
        std::thread::sleep(Duration::from_millis(random.between(0, 20)));
        server.kill();
    }
    server.restart();
    let log = server.log();
    assert!(!log.contains("corrupt") && !log.contains("panicked"), "{log}");
}
