//! The workloads, one file each, and what they share: the server, the clock and
//! the reading back.

mod bare;
mod consume;
mod get;
mod paced;
mod post;
mod produce;
mod read_back;
mod visitor;
mod window;

use super::outcome::Outcome;
use super::place::Server;
use super::plan::{Case, Settings};
use crate::failure::Failure;
use consume::Stock;

pub(super) use visitor::Visitor;

/// What workloads work with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) server: Server,
    pub(super) settings: Settings,
    /// What there is to consume.
    stock: Option<Stock>,
}

impl Bench {
    pub(super) fn new(server: Server, settings: Settings) -> Bench {
        Bench { server, settings, stock: None }
    }

    /// Measures one case.
    ///
    /// # Errors
    /// Something failed, or what was read back is not what was written.
    pub(super) fn run(&mut self, case: Case) -> Result<Outcome, Failure> {
        match case {
            Case::Produce(protocol, kind) => produce::run(self, protocol, kind),
            Case::Consume(protocol, kind) => consume::run(self, protocol, kind),
            Case::Post(connections) => post::run(self, connections),
            Case::Get(connections) => get::run(self, connections),
            Case::Paced(protocol) => paced::run(self, protocol),
        }
    }
}
