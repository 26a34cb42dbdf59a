//! The workloads, one file each, and what they share: [`Harness`], the measured time
//! (`window`), reading back (`read_back`), logs to read (`prefilled_log`) and their sizes
//! (`size`), and the baseline of HTTP workloads (`http_baseline`).

mod beside_readers;
mod catch_up;
mod consume;
mod fan_out;
mod followers;
mod get;
mod get_large_blocks;
mod http_baseline;
mod lagging;
mod many_logs;
mod memory;
mod open;
mod paced;
mod post;
mod prefilled_log;
mod produce;
mod read_back;
mod size;
mod window;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::environment::Server;
use super::outcome::Outcome;
use super::plan::{Case, Settings};
use crate::Error;
use prefilled_log::PrefilledLog;

/// The server, the settings and the directory of all workloads.
#[derive(Debug)]
pub(super) struct Harness {
    /// The log to read. This field comes first so that it is dropped before its server.
    prefilled: Option<PrefilledLog>,
    pub(super) server: Server,
    pub(super) settings: Settings,
    /// The directory for the data of more servers.
    directory: PathBuf,
    servers: Cell<u32>,
}

impl Harness {
    pub(super) fn new(server: Server, settings: Settings, directory: &Path) -> Harness {
        let directory = directory.to_owned();
        Harness { server, settings, prefilled: None, directory, servers: Cell::new(0) }
    }

    /// Waits until the file system has written everything, for example the removal of
    /// the logs of the previous round. That work must not slow down the next round.
    fn flush_file_system(&self) {
        if let Ok(directory) = std::fs::File::open(&self.directory) {
            // If this fails, only the warm-up absorbs that work.
            let _ = rustix::fs::syncfs(&directory);
        }
    }

    /// A path for a data directory that no server has used.
    fn new_data_directory(&self) -> PathBuf {
        self.servers.set(self.servers.get() + 1);
        self.directory.join(format!("data-{}", self.servers.get()))
    }

    /// Measures one case.
    ///
    /// # Errors
    /// The workload failed, or a record that was read back is missing or wrong.
    pub(super) fn run(&mut self, case: Case) -> Result<Outcome, Error> {
        self.flush_file_system();
        match case {
            Case::Produce(protocol, kind) => produce::run(self, protocol, kind),
            Case::Consume(protocol, kind) => consume::run(self, protocol, kind),
            Case::CatchUp(protocol, kind) => catch_up::run(self, protocol, kind),
            Case::Lagging(backlog) => lagging::run(self, backlog),
            Case::Post(connections) => post::run(self, connections),
            Case::Get(connections) => get::run(self, connections),
            Case::GetLargeBlocks(connections) => get_large_blocks::run(self, connections),
            Case::Paced(protocol) => paced::run(self, protocol),
            Case::BesideReaders => beside_readers::run(self),
            Case::FanOut(followers) => fan_out::run(self, followers),
            Case::Logs => many_logs::run(self),
            Case::Followers => followers::run(self),
            Case::Memory => memory::run(self),
            Case::Open => open::run(self),
        }
    }
}
