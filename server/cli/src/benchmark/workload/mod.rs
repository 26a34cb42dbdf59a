//! The workloads, one file each, and what they share: the server, the clock and
//! the reading back.

mod bare;
mod consume;
mod fan_out;
mod followers;
mod get;
mod many_logs;
mod memory;
mod open;
mod paced;
mod post;
mod produce;
mod read_back;
mod stock;
mod window;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::outcome::Outcome;
use super::place::Server;
use super::plan::{Case, Settings};
use crate::failure::Failure;
use stock::Stock;

/// What workloads work with.
#[derive(Debug)]
pub(super) struct Bench {
    /// What there is to consume; it goes before the server that it is on.
    stock: Option<Stock>,
    pub(super) server: Server,
    pub(super) settings: Settings,
    /// Where further servers have their data.
    directory: PathBuf,
    servers: Cell<u32>,
}

impl Bench {
    pub(super) fn new(server: Server, settings: Settings, directory: &Path) -> Bench {
        let directory = directory.to_owned();
        Bench { server, settings, stock: None, directory, servers: Cell::new(0) }
    }

    /// Lets the filesystem finish what is under way, such as removing the logs
    /// of the round before: it is no part of the next one.
    fn settle(&self) {
        if let Ok(directory) = std::fs::File::open(&self.directory) {
            // Where it cannot, the warm-up has to do.
            let _ = rustix::fs::syncfs(&directory);
        }
    }

    /// A data directory that no server had before.
    fn data(&self) -> PathBuf {
        self.servers.set(self.servers.get() + 1);
        self.directory.join(format!("data-{}", self.servers.get()))
    }

    /// Measures one case.
    ///
    /// # Errors
    /// Something failed, or what was read back is not what was written.
    pub(super) fn run(&mut self, case: Case) -> Result<Outcome, Failure> {
        self.settle();
        match case {
            Case::Produce(protocol, kind) => produce::run(self, protocol, kind),
            Case::Consume(protocol, kind) => consume::run(self, protocol, kind),
            Case::Post(connections) => post::run(self, connections),
            Case::Get(blocks, connections) => get::run(self, blocks, connections),
            Case::Paced(protocol) => paced::run(self, protocol),
            Case::FanOut(followers) => fan_out::run(self, followers),
            Case::Logs => many_logs::run(self),
            Case::Followers => followers::run(self),
            Case::Memory => memory::run(self),
            Case::Open => open::run(self),
        }
    }
}
