//! Servers with an archive, and logs whose history is only there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use styx_tests::cli::{self, Done};
use styx_tests::object_store::ObjectStore;
use styx_tests::store_proxy::StoreProxy;
use styx_tests::{Request, Settings, TestServer, wait};

/// Far longer than anything should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A store with a proxy in front of it.
pub(crate) struct Archive {
    pub(crate) proxy: StoreProxy,
    pub(crate) store: ObjectStore,
}

impl Archive {
    pub(crate) fn start() -> Archive {
        let store = ObjectStore::start();
        Archive { proxy: StoreProxy::start(store.address()), store }
    }

    /// The settings of a server that archives through the proxy and evicts everything that it
    /// can. `lines` are further ones under `[archive]`.
    pub(crate) fn settings(&self, lines: &str) -> Settings {
        self.settings_with_lag(1, lines)
    }

    /// As [`Archive::settings`], with this `max_lag` in seconds.
    pub(crate) fn settings_with_lag(&self, max_lag: u64, lines: &str) -> Settings {
        let (url, endpoint) = (self.store.url(), self.proxy.endpoint());
        let table = format!(
            "[archive]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\nmax_lag = {max_lag}\n{lines}"
        );
        let settings = Settings::default().table(&table);
        ObjectStore::credentials()
            .iter()
            .fold(settings, |settings, (name, value)| settings.variable(name, value))
    }

    /// `styx` with these arguments, and with this archive, which it reaches without the proxy.
    pub(crate) fn styx(&self, arguments: &[&str]) -> Done {
        cli::run(self.command(arguments), b"")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cli::styx(arguments);
        command.args(["--url", &self.store.url()]);
        command.args(["--endpoint", &format!("http://{}", self.store.address())]);
        command.envs(ObjectStore::credentials());
        command
    }

    /// Checks every object that the manifests name.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let _ = self.styx(&["archive", "verify", "--read"]).expect_ok();
    }
}

/// `local_max_size` with which everything that is archived is evicted.
pub(crate) const EVICT: &str = "local_max_size = 1";

/// The number of this name in the details of a log.
pub(crate) fn detail(server: &TestServer, log: &str, name: &str) -> Option<u64> {
    let answer = server.ask(&Request::get(&format!("/logs/{log}?details=true")));
    let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
    json[name].as_u64()
}

/// Waits until everything that is in the log now is archived.
#[track_caller]
pub(crate) fn await_archived(server: &TestServer, log: &str) {
    let end = detail(server, log, "end_position").expect("an end");
    wait::until_true("every record is archived", PATIENCE, || {
        detail(server, log, "archived_position") >= Some(end)
    });
}

/// Waits until a log has at most this number of segments on the disk.
#[track_caller]
pub(crate) fn await_evicted(server: &TestServer, log: &str, segments_max: usize) {
    wait::until_true("the segments are evicted", PATIENCE, || {
        segments(server, log) <= segments_max
    });
}

/// The number of segments that a log has on the disk.
pub(crate) fn segments(server: &TestServer, log: &str) -> usize {
    let files = std::fs::read_dir(server.data().join(log).join("0")).expect("the log's folder");
    let names = files.map(|file| file.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".seg")).count()
}

/// The payload with this number: all have different sizes and bytes.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number as usize % 997)).into_bytes()
}

/// Creates a log with small segments, and appends records in several commits.
pub(crate) fn fill(server: &TestServer, log: &str, count: u64) -> Vec<Vec<u8>> {
    server.create_with(log, "segment_max_size=65536");
    append(server, log, 0, count)
}

/// Appends records in several commits.
pub(crate) fn append(server: &TestServer, log: &str, from: u64, count: u64) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = (from..from + count).map(payload).collect();
    for records in all.chunks(50) {
        server.append_all(log, records);
    }
    all
}

/// A server whose log `a` is only in the archive, except for its newest records; started again, so
/// that nothing is in memory either.
pub(crate) fn evicted(archive: &Archive, count: u64) -> (TestServer, Vec<Vec<u8>>) {
    let mut server = archive.settings(EVICT).start();
    let mut records = fill(&server, "a", count);
    await_archived(&server, "a");
    records.extend(append(&server, "a", count, 10));
    // The newest segment and the newest finished one stay.
    await_evicted(&server, "a", 3);
    server.kill();
    server.restart();
    (server, records)
}

/// Waits until every finished segment of a log is archived, and returns the end of the archived part.
#[track_caller]
pub(crate) fn await_finished_archived(server: &TestServer, log: &str) -> u64 {
    let files = std::fs::read_dir(server.data().join(log).join("0")).expect("the log's folder");
    let names = files.map(|file| file.expect("an entry").file_name());
    let bases = names.filter_map(|name| name.to_string_lossy().strip_suffix(".seg")?.parse().ok());
    let newest: u64 = bases.max().expect("a segment");
    wait::until_true("every finished segment is archived", PATIENCE, || {
        detail(server, log, "archived_position") == Some(newest)
    });
    newest
}

/// Destroys the disk of a server that was killed, restores it, and starts it again.
#[track_caller]
pub(crate) fn restore_in_place(archive: &Archive, server: &mut TestServer) {
    let data = server.data().to_owned();
    std::fs::remove_dir_all(&data).expect("removed");
    let directory = data.to_str().expect("a path");
    let _ = archive.styx(&["restore", "--data-directory", directory]).expect_ok();
    server.restart();
}
