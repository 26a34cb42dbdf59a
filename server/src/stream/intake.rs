//! [`Intake`]: what a producer's connection does next about its socket.
//!
//! ```text
//! has_capacity  is_contended  is_idle  has memory
//!      no                                           NoRoom     wait for durable appends or read acks
//!      yes           yes        no                  Yield      wait until own appends are durable
//!      yes             else               no        NoMemory   wait for memory
//!      yes             else               yes       Listen     read the socket
//! ```
//!
//! styx/0 and styx/1 both decide by this table, and by [`Grant`] when to free memory for others.

/// What the decision depends on, besides memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IntakeState {
    /// Another append may be submitted, and more may be read from the peer.
    pub(super) has_capacity: bool,
    /// Others wait for the memory that this connection holds.
    pub(super) is_contended: bool,
    /// Everything submitted is durable.
    pub(super) is_idle: bool,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    /// Read the socket.
    Listen,
    /// Too much is in flight, or nothing more may be read.
    NoRoom,
    /// There is no memory to read into.
    NoMemory,
    /// Others wait for memory: let the appends in flight become durable first.
    Yield,
}

impl Intake {
    /// Decides. `has_memory` is asked only if everything else allows reading,
    /// because asking may reserve memory.
    pub(super) fn decide(state: IntakeState, has_memory: impl FnOnce() -> bool) -> Intake {
        let IntakeState { has_capacity, is_contended, is_idle } = state;
        if !has_capacity {
            Intake::NoRoom
        } else if is_contended && !is_idle {
            Intake::Yield
        } else if has_memory() {
            Intake::Listen
        } else {
            Intake::NoMemory
        }
    }
}

/// Whether the last wait granted memory into which nothing was read yet.
///
/// Invariant: a connection reads into granted memory before it frees it for others. Otherwise
/// two connections could pass it to each other for ever.
#[derive(Debug, Default)]
pub(super) struct Grant(bool);

impl Grant {
    /// A wait for memory has ended.
    pub(super) fn given(&mut self) {
        self.0 = true;
    }

    /// Whether to free unused memory now, because others wait for it. Ask once before each
    /// decision.
    pub(super) fn is_freed(&mut self, state: IntakeState) -> bool {
        let is_granted = std::mem::take(&mut self.0);
        state.is_contended && state.is_idle && !is_granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ProducerMemory, RequestBudget};

    /// More than half of the budget, and enough to count as contended.
    const WANTED_BYTES: usize = 100 << 10;
    const BUDGET_BYTES: usize = 150 << 10;
    /// Decisions that two connections need at most for one read each.
    const DECISIONS_MAX: usize = 20;

    /// Decides as a producer's connection does until it has read once.
    async fn read_once(budget: &RequestBudget) {
        let mut memory = ProducerMemory::new(budget.reservation());
        let mut grant = Grant::default();
        for _ in 0..DECISIONS_MAX {
            let is_contended = memory.is_contended();
            let state = IntakeState { has_capacity: true, is_contended, is_idle: true };
            if grant.is_freed(state) {
                memory.shrink_to(0);
            }
            match Intake::decide(state, || memory.try_reserve(WANTED_BYTES)) {
                Intake::Listen => return,
                Intake::NoMemory => {
                    memory.reserve(WANTED_BYTES).await.expect("it holds little");
                    grant.given();
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("no read within {DECISIONS_MAX} decisions");
    }

    /// Regression test: two producers that waited for memory freed what they were granted,
    /// because the other one waited. So they passed it to each other for ever.
    #[tokio::test(start_paused = true)]
    async fn two_producers_that_wait_for_memory_get_it_in_turn() {
        let budget = RequestBudget::new(BUDGET_BYTES);
        let mut holder = ProducerMemory::new(budget.reservation());
        assert!(holder.try_reserve(BUDGET_BYTES));
        let freed = async {
            // Both wait by now.
            tokio::task::yield_now().await;
            drop(holder);
        };
        tokio::join!(read_once(&budget), read_once(&budget), freed);
        assert_eq!(budget.bytes(), 0, "everything is free again");
    }

    /// Capacity, contended, idle, memory; the decision; whether memory was asked for.
    type Case = (bool, bool, bool, bool, Intake, bool);

    const CASES: [Case; 16] = [
        (false, false, false, false, Intake::NoRoom, false),
        (false, false, false, true, Intake::NoRoom, false),
        (false, false, true, false, Intake::NoRoom, false),
        (false, false, true, true, Intake::NoRoom, false),
        (false, true, false, false, Intake::NoRoom, false),
        (false, true, false, true, Intake::NoRoom, false),
        (false, true, true, false, Intake::NoRoom, false),
        (false, true, true, true, Intake::NoRoom, false),
        (true, false, false, false, Intake::NoMemory, true),
        (true, false, false, true, Intake::Listen, true),
        (true, false, true, false, Intake::NoMemory, true),
        (true, false, true, true, Intake::Listen, true),
        (true, true, false, false, Intake::Yield, false),
        (true, true, false, true, Intake::Yield, false),
        (true, true, true, false, Intake::NoMemory, true),
        (true, true, true, true, Intake::Listen, true),
    ];

    #[test]
    fn every_combination_of_inputs_has_its_decision() {
        let inputs: std::collections::BTreeSet<_> =
            CASES.iter().map(|case| (case.0, case.1, case.2, case.3)).collect();
        assert_eq!(inputs.len(), 16, "each combination is there once");
        for (has_capacity, is_contended, is_idle, has_memory, expected, expected_asked) in CASES {
            let state = IntakeState { has_capacity, is_contended, is_idle };
            let mut asked = false;
            let intake = Intake::decide(state, || {
                asked = true;
                has_memory
            });
            assert_eq!((intake, asked), (expected, expected_asked), "{state:?} {has_memory}");
        }
    }
}
