//! The mixed soak: all protocols and all client libraries at once, on one server with TLS.
//!
//! ```text
//! log "http"    ◀─ writer over HTTP        follower in Node.js   ◀─┐
//! log "node"    ◀─ writer in Node.js       follower over styx/0  ◀─┼─ small segments, retention
//! …                                                                ┘
//!        programs are killed and started again; certificates are replaced
//! ```
//!
//! Each log has one writer and one follower, of different kinds. [`notes`] checks each record that
//! a follower sees: nothing is lost, doubled, changed or out of order. The server runs from the
//! beginning to the end, and its memory must stay flat.
//!
//! It takes 20 s as a test, and `STYX_SOAK_SECONDS` otherwise: `cargo xtask soak --only mixed` runs
//! it for an hour. `STYX_FAULT_SEED` repeats the moments at which programs are killed.

mod clients;
mod notes;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use styx_tests::faults::Faults;
use styx_tests::random::Random;
use styx_tests::wait::{SetOnDrop, until_true};
use styx_tests::{Settings, TestServer, cli};

use self::clients::{Kind, Target};
use self::notes::{Notes, Total};
use crate::drivers;

/// The length of the test in seconds, if the environment does not say it.
const SECONDS: u64 = 20;
/// From this length on, programs live longer, because starting them takes most of the time.
const LONG_SECONDS: u64 = 600;
/// How each log is created: many segments, and retention that removes the oldest.
const CONFIG: &str = "segment_max_size=131072&log_max_size=1048576";
/// A writer waits while its follower has this many records to read, so that retention never
/// overtakes the follower.
const BEHIND_MAX: u64 = 200;
/// Records of an append, and their length, in bytes. Rarely, one is longer.
const RECORDS_MAX: u64 = 20;
const RECORD_BYTES_MAX: u64 = 1200;
const LONG_RECORD_BYTES: u32 = 60_000;
/// The pause of a writer between two appends.
const PACE: Duration = Duration::from_millis(60);
/// How long the end may take: followers read the rest.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much the memory of the server may differ between the second quarter and the last.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

#[test]
fn all_protocols_and_languages_together_lose_and_double_nothing() {
    let seconds = match std::env::var("STYX_SOAK_SECONDS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("STYX_SOAK_SECONDS is {text}")),
        Err(_) => SECONDS,
    };
    let Faults { seed, .. } = Faults::new(0);
    let kinds: Vec<Kind> = [Kind::Http, Kind::WebSocket, Kind::Styx0]
        .into_iter()
        .chain(drivers::available().into_iter().map(Kind::Library))
        .collect();
    let mut server = Settings::default().tls().start();
    let ca_file = server.scratch().write("ca.pem", server.authority().certificate());
    let soak = Soak::new(seconds, seed, kinds);
    soak.kinds.iter().for_each(|kind| server.create_with(kind.name(), CONFIG));
    let memory = soak.run(&server, &ca_file);
    let totals = soak.check(&server);
    println!("{seconds} s, seed {seed}, killed {}, certificates {}", soak.killed(), soak.loads());
    assert!(soak.killed() >= soak.kinds.len() as u64, "every program is killed sometimes");
    assert!(soak.loads() > 0, "certificates are replaced");
    for (name, total) in totals {
        println!("{name}: {total:?}");
        assert!(total.acked > 100, "{name}: too few records to test anything: {total:?}");
    }
    check_memory(&memory);
    until_true("all connections are closed", PATIENCE, || {
        // The request itself has one.
        server.metric("styx_connections") <= Some(2.0)
    });
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    for word in ["panicked", "ERROR", "corrupt"] {
        assert!(!stopped.log.contains(word), "{}", stopped.log);
    }
    let data = server.data();
    let verify = cli::styx(&["verify", &data.display().to_string()]);
    let _ = cli::run(verify, b"").expect_ok();
}

struct Soak {
    seconds: u64,
    seed: u64,
    kinds: Vec<Kind>,
    notes: Vec<Notes>,
    is_over: AtomicBool,
    /// A program has found a fault.
    has_failed: AtomicBool,
    killed: AtomicU64,
    loads: AtomicU64,
}

impl Soak {
    fn new(seconds: u64, seed: u64, kinds: Vec<Kind>) -> Soak {
        let notes = kinds.iter().map(|_| Notes::default()).collect();
        let (is_over, has_failed, killed, loads) = Default::default();
        Soak { seconds, seed, kinds, notes, is_over, has_failed, killed, loads }
    }

    fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// Runs all programs, and returns the memory of the server, measured four times a second.
    fn run(&self, server: &TestServer, ca_file: &Path) -> Vec<u64> {
        let begun = Instant::now();
        let end = Duration::from_secs(self.seconds);
        let mut memory = Vec::new();
        std::thread::scope(|scope| {
            // Also after a panic.
            let over = SetOnDrop(&self.is_over);
            let count = self.kinds.len();
            for (number, notes) in self.notes.iter().enumerate() {
                let (writer, reader) = (self.kinds[number], self.kinds[(number + 3) % count]);
                let target = Target { server, ca_file, log: writer.name() };
                let random = |salt| Random::new(self.seed ^ (number as u64 + 1) << salt);
                let (of_writer, of_reader) = (random(8), random(16));
                scope.spawn(move || {
                    let _fault = Fault(self);
                    self.write(writer, target, notes, of_writer);
                });
                scope.spawn(move || {
                    let _fault = Fault(self);
                    self.follow(reader, target, notes, of_reader);
                });
            }
            scope.spawn(|| self.replace_certificates(server));
            while begun.elapsed() < end && !self.has_failed.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(250));
                memory.push(server.memory_bytes());
            }
            drop(over);
        });
        memory
    }

    /// How long a program lives until it is killed.
    fn lifetime(&self, random: &mut Random) -> Duration {
        let shortest = if self.seconds < LONG_SECONDS { 3 } else { 15 };
        Duration::from_millis(random.between(shortest * 1000, shortest * 4000))
    }

    fn write(&self, kind: Kind, target: Target<'_>, notes: &Notes, mut random: Random) {
        while !self.is_over() {
            let incarnation = notes.begin();
            let mut writer = kind.writer(target);
            let end = Instant::now() + self.lifetime(&mut random);
            while !self.is_over() {
                if notes.behind() > BEHIND_MAX {
                    std::thread::sleep(PACE);
                    continue;
                }
                let records = notes.attempt(incarnation, &lengths(&mut random));
                writer.send(&records);
                if Instant::now() > end {
                    std::thread::sleep(Duration::from_micros(random.between(0, 3000)));
                    self.killed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                writer.settle();
                notes.acked(incarnation);
                std::thread::sleep(PACE);
            }
        }
        let mut writer = kind.writer(target);
        writer.send(&[Notes::last()]);
        writer.settle();
    }

    fn follow(&self, kind: Kind, target: Target<'_>, notes: &Notes, mut random: Random) {
        let mut next = 0;
        loop {
            let mut reader = kind.reader(target, next);
            let end = Instant::now() + self.lifetime(&mut random);
            while self.is_over() || Instant::now() < end {
                assert!(!self.has_failed.load(Ordering::Relaxed), "another program has failed");
                for record in reader.read() {
                    if notes.seen(target.log, next, &record) {
                        return;
                    }
                    next += 1;
                }
            }
            self.killed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Replaces the certificate again and again; new connections use the new one.
    fn replace_certificates(&self, server: &TestServer) {
        let pause = Duration::from_secs(if self.seconds < LONG_SECONDS { 4 } else { 30 });
        let mut last = Instant::now();
        while !self.is_over() {
            std::thread::sleep(Duration::from_millis(100));
            if last.elapsed() < pause {
                continue;
            }
            last = Instant::now();
            let (certificate, key) = server.certificate_files();
            let signed = server.authority().server();
            for (path, text) in [(certificate, signed.certificate), (key, signed.key)] {
                let new = path.with_extension("new");
                std::fs::write(&new, text).expect("written");
                std::fs::rename(new, path).expect("replaced");
            }
            server.tell(Signal::HUP);
            self.loads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Checks that everything that was acked was seen, that segments were removed, and that new
    /// certificates were used.
    fn check(&self, server: &TestServer) -> Vec<(&'static str, Total)> {
        let loaded = server.log().matches("loaded now").count() as u64;
        assert!(loaded >= self.loads(), "{loaded} certificates of {} are used", self.loads());
        let names = self.kinds.iter().map(|kind| kind.name());
        let totals: Vec<_> =
            names.zip(&self.notes).map(|(name, notes)| (name, notes.check(name))).collect();
        let removed = totals.iter().filter(|(name, _)| server.info(name)["start_position"] != 0);
        assert!(removed.count() > 0, "retention has removed nothing");
        totals
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Tells the other programs if one panics, because the last record would never come.
struct Fault<'a>(&'a Soak);

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.has_failed.store(true, Ordering::Relaxed);
        }
    }
}

/// The lengths of the records of one append.
fn lengths(random: &mut Random) -> Vec<u32> {
    let is_long = random.between(0, 100) == 0;
    let short = |random: &mut Random| random.between(0, RECORD_BYTES_MAX);
    let mut lengths: Vec<u32> = (0..random.between(1, RECORDS_MAX + 1))
        .map(|_| u32::try_from(short(random)).expect("a small number"))
        .collect();
    lengths.extend(is_long.then_some(LONG_RECORD_BYTES));
    lengths
}

/// Checks that the memory is as large in the last quarter as in the second.
fn check_memory(samples: &[u64]) {
    let quarter = samples.len() / 4;
    let median = |samples: &[u64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let (before, after) =
        (median(&samples[quarter..2 * quarter]), median(&samples[samples.len() - quarter..]));
    let most = samples.iter().max().copied().unwrap_or_default();
    println!(
        "memory of the server: {} MiB in the second quarter, {} MiB in the last, {} MiB at most",
        before >> 20,
        after >> 20,
        most >> 20
    );
    assert!(after <= before + GROWTH_BYTES_MAX, "the memory grows: {samples:?}");
}

#[test]
fn growing_memory_is_noticed() {
    check_memory(&[100 << 20; 100]);
    let growing: Vec<u64> = (0..100).map(|number| (100 + number) << 20).collect();
    assert!(std::panic::catch_unwind(|| check_memory(&growing)).is_err());
}
