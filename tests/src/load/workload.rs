//! [`Workload`]: all producers and followers of some logs.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::follower::Follower;
use super::producer::Producer;
use super::{Gate, Style};
use crate::TestServer;
use crate::api::unbinary;
use crate::checker::{Ledger, Recovered, Violation, audit};
use crate::http::Request;

/// A log, its producers and its followers.
#[derive(Debug, Clone)]
pub struct LogPlan {
    /// Its name.
    pub name: String,
    /// How it is created, as in `segment_max_count=50`.
    pub config: String,
    /// Its producers.
    pub producers: Vec<Style>,
    /// The number of its followers.
    pub followers: usize,
    /// Whether its retention may remove its beginning.
    pub may_expire: bool,
}

/// The running threads and their notes.
#[derive(Debug)]
pub struct Workload {
    plans: Vec<LogPlan>,
    ledger: Arc<Ledger>,
    gate: Arc<Gate>,
    workers: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Creates the logs and starts the threads, which wait until
    /// [`open`](Self::open).
    ///
    /// # Panics
    /// When a log cannot be created.
    #[must_use]
    pub fn start(server: &TestServer, plans: Vec<LogPlan>, ledger: Ledger) -> Workload {
        let (ledger, gate) = (Arc::new(ledger), Arc::new(Gate::default()));
        let mut workers = Vec::new();
        let mut number = 0;
        for plan in &plans {
            server.create_with(&plan.name, &plan.config);
            for style in plan.producers.clone() {
                number += 1;
                let (log, ledger, gate) = (plan.name.clone(), ledger.clone(), gate.clone());
                workers.push(std::thread::spawn(move || {
                    Producer { log: &log, number, style, ledger: &ledger, gate: &gate }.run();
                }));
            }
            for _ in 0..plan.followers {
                let may_expire = plan.may_expire;
                let (log, ledger, gate) = (plan.name.clone(), ledger.clone(), gate.clone());
                workers.push(std::thread::spawn(move || {
                    Follower { log: &log, ledger: &ledger, gate: &gate, may_expire }.run();
                }));
            }
        }
        Workload { plans, ledger, gate, workers }
    }

    /// Lets all threads connect to the server.
    pub fn open(&self, server: &TestServer) {
        self.gate.open(server.address());
    }

    /// Waits until all threads have noticed that the server is gone, and have noted the
    /// answers that they received.
    ///
    /// # Panics
    /// When one of them panicked.
    pub fn close(&mut self) {
        self.gate.close();
        // A worker that panicked never arrives at the gate: show its panic.
        if let Some(at) = self.workers.iter().position(JoinHandle::is_finished) {
            let panicked = self.workers.swap_remove(at).join();
            std::panic::resume_unwind(panicked.expect_err("it ended before the workload did"));
        }
        self.gate.await_waiting(self.workers.len());
    }

    /// Cuts the power. Answers from now on do not count.
    pub fn lose_power(&self, cut: impl FnOnce()) {
        self.ledger.lose_power();
        cut();
    }

    /// Answers count again. Call it while the workload is closed.
    pub fn regain_power(&self) {
        self.ledger.regain_power();
    }

    /// Reads every log and compares it with the notes.
    ///
    /// # Panics
    /// When a log cannot be read.
    #[must_use]
    pub fn audit(&self, server: &TestServer) -> Vec<(String, Violation)> {
        let notes = self.ledger.notes();
        let mut violations = Vec::new();
        for plan in &self.plans {
            let recovered = read_back(server, plan);
            for violation in audit(&notes.of(&plan.name), &recovered) {
                violations.push((plan.name.clone(), violation));
            }
        }
        violations
    }

    /// The number of records acknowledged so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        let notes = self.ledger.notes();
        let of = |plan: &LogPlan| notes.of(&plan.name);
        let acks = self.plans.iter().flat_map(|plan| of(plan).acked);
        acks.map(|acked| u64::from(acked.attempt.count)).sum()
    }

    /// Ends all threads and deletes the logs.
    ///
    /// # Panics
    /// When a worker panicked.
    pub fn end(self, server: &TestServer) {
        self.gate.end();
        for worker in self.workers {
            if let Err(panicked) = worker.join() {
                std::panic::resume_unwind(panicked);
            }
        }
        for plan in &self.plans {
            let _ = server.ask(&Request::delete(&format!("/logs/{}", plan.name))).expect(200);
        }
    }
}

fn read_back(server: &TestServer, plan: &LogPlan) -> Recovered {
    let info = server.info(&plan.name);
    assert_eq!(info["status"], "ok", "{info}");
    let number = |field: &str| info[field].as_u64().expect("a number");
    let (start, end) = (number("start_position"), number("end_position"));
    let request = crate::api::read_binary(&plan.name, &format!("position={start}"));
    let records = unbinary(&server.ask(&request).expect(200).body);
    Recovered { start, end, records, may_expire: plan.may_expire }
}
