//! Read replicas: logs of an archive that are attached, followed, replaced and removed.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use styx_archive::manifest::{Manifest, Owner};
use styx_archive::restore::{RestoreOptions, restore};
use styx_archive::selection::Wanted;
use styx_archive::{Replica, ReplicaSettings};
use styx_engine::{Catalog, Error, Found, Log, Options};
use styx_protocol::{Code, LogConfig, LogId, Position};

use crate::archiving::{
    Server, append, check_records, manifest, name, wait_for_archived, wait_until,
};
use crate::s3::{Fault, S3};
use crate::stores::run;

/// A read replica on a store. The slowest refresh is 60 times this one.
const REFRESH: Duration = Duration::from_millis(20);

struct Follower {
    replica: Replica,
    catalog: Catalog,
}

impl Follower {
    fn start(directory: &Path, s3: &S3) -> Follower {
        Follower::every(REFRESH, directory, &s3.url(), s3)
    }

    fn every(refresh: Duration, directory: &Path, url: &str, s3: &S3) -> Follower {
        let replica = Replica::open(&ReplicaSettings {
            url: url.to_owned(),
            store: s3.options(),
            refresh,
            read_cache_bytes: 64 << 20,
            read_memory_bytes: 8 << 20,
            cache_directory: directory.to_owned(),
        })
        .expect("open the replica");
        let options =
            Options { depot: Some(replica.depot()), read_only: true, ..Options::new(directory) };
        let catalog = Catalog::open(options).expect("open the catalog");
        replica.start(catalog.clone());
        Follower { replica, catalog }
    }

    /// Waits until the log ends at this position.
    #[track_caller]
    fn await_end(&self, log: &str, end: u64) -> Log {
        wait_until(&format!("{log} ends at {end}"), || {
            let found = self.catalog.log(&name(log));
            found.is_ok_and(|found| found.end_position() == Position(end))
        });
        self.catalog.log(&name(log)).expect("open")
    }

    fn await_gone(&self, log: &str) {
        wait_until(&format!("{log} is gone"), || self.catalog.info(&name(log)).is_err());
    }

    fn stop(self) {
        assert!(self.replica.stop(Duration::from_secs(10)));
        assert!(self.catalog.close(Duration::from_secs(10)));
    }
}

/// A primary on a store, and directories for it and for a replica.
struct Scene {
    s3: S3,
    primary: Server,
    /// The directory of the primary, and that of the replica.
    directories: [tempfile::TempDir; 2],
}

impl Scene {
    fn start() -> Scene {
        let directories = [0, 1].map(|_| tempfile::tempdir().expect("a directory"));
        let s3 = S3::start();
        let primary = Server::on_s3(directories[0].path(), &s3);
        Scene { s3, primary, directories }
    }

    /// A log with this number of archived records.
    fn log(&self, log: &str, records: u64) -> Log {
        let log = self.primary.create(log);
        // A segment ends with the first record after it.
        append(&log, records + 5);
        wait_for_archived(&log, records);
        log
    }

    fn follow(&self) -> Follower {
        Follower::start(self.directories[1].path(), &self.s3)
    }
}

#[test]
fn replica_sends_only_reads() {
    let scene = Scene::start();
    let [log, other] = [("log", 50), ("other", 20)].map(|(log, records)| scene.log(log, records));
    log.trim(Position(20)).expect("trimmed");
    append(&log, 10);
    wait_for_archived(&log, 60);
    let ids = [log.id(), other.id()];
    drop((log, other));
    let Scene { s3, primary, directories } = scene;
    primary.stop();
    let writes = s3.writes();
    for _ in 0..2 {
        let follower = Follower::start(directories[1].path(), &s3);
        let logs = [follower.await_end("log", 60), follower.await_end("other", 20)];
        assert_eq!(logs.each_ref().map(Log::id), ids, "the ids are those of the primary");
        check_records(&logs[0], 20, 60);
        check_records(&logs[1], 0, 20);
        assert_eq!(logs[0].archived_position(), Some(Position(60)));
        let before = follower.replica.stats().refreshes;
        wait_until("some refreshes", || follower.replica.stats().refreshes > before + 5);
        assert_eq!(follower.replica.stats().failures, 0);
        drop(logs);
        follower.stop();
    }
    assert_eq!(s3.writes(), writes, "nothing was written to the store");
}

#[test]
fn replica_follows_new_records_trims_and_new_logs() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let mut wait = Box::pin(copy.reader(Position(20)).expect("a reader").wait());
    append(&log, 10);
    run(async { (&mut wait).await });
    assert_eq!(copy.end_position(), Position(30), "the waiting reader was woken");
    log.trim(Position(20)).expect("trimmed");
    // The manifest gets the new start with the next news of the log.
    append(&log, 10);
    follower.await_end("log", 40);
    wait_until("the start moves", || copy.start_position() == Position(20));
    check_records(&copy, 20, 40);
    scene.log("late", 10);
    follower.await_end("late", 10);
    follower.stop();
    scene.primary.stop();
}

#[test]
fn deleted_log_disappears_and_its_successor_has_the_new_id() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let mut reader = copy.reader(Position(0)).expect("a reader");
    scene.primary.catalog.delete(&name("log")).expect("deleted");
    follower.await_gone("log");
    assert_eq!(reader.read(1).expect_err("it was deleted").code(), Code::LogNotFound);

    let again = scene.log("log", 30);
    let copy = follower.await_end("log", 30);
    assert_eq!(copy.id(), again.id());
    assert_ne!(copy.id(), log.id());
    check_records(&copy, 0, 30);

    // A manifest that is gone is as good as a tombstone.
    scene.s3.remove(&format!("logs/{}/manifest", again.id()));
    follower.await_gone("log");
    follower.stop();
    scene.primary.stop();
}

#[test]
fn truncated_log_gets_its_new_id() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    follower.await_end("log", 20);
    drop(log);
    let new = scene.primary.catalog.truncate(&name("log")).expect("truncated");
    append(&new, 15);
    wait_for_archived(&new, 10);
    let copy = follower.await_end("log", 10);
    assert_eq!(copy.id(), new.id());
    check_records(&copy, 0, 10);
    follower.stop();
    scene.primary.stop();
}

#[test]
fn replica_starts_without_the_store_and_fetches_no_index_again() {
    let scene = Scene::start();
    let log = scene.log("log", 50);
    let follower = scene.follow();
    let copy = follower.await_end("log", 50);
    wait_until("the indexes are there", || copy.without_index().is_ok_and(|none| none.is_empty()));
    drop(copy);
    follower.stop();

    let indexes = scene.s3.requests(Method::GET, ".idx");
    assert_eq!(indexes, 5);
    scene.s3.set_away(true);
    let follower = scene.follow();
    let copy = follower.await_end("log", 50);
    let mut reader = copy.reader(Position(0)).expect("a reader");
    let Ok(Found::NeedsStore(fetch)) = reader.record() else { panic!("it needs the store") };
    assert!(matches!(run(fetch), Err(Error::StoreUnavailable { .. })));
    wait_until("a failure", || follower.replica.stats().failures > 0);
    assert_eq!(follower.catalog.list().len(), 1, "no failure removes a log");
    scene.s3.set_away(false);
    append(&log, 10);
    check_records(&follower.await_end("log", 60), 0, 60);
    assert_eq!(scene.s3.requests(Method::GET, ".idx"), indexes + 1);
    assert!(follower.replica.archive_stats().is_available);
    follower.stop();
    scene.primary.stop();
}

#[test]
fn quiet_log_costs_few_requests_and_a_read_hurries() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let key = format!("logs/{}/manifest", copy.id());
    let requests = || scene.s3.requests(Method::GET, &key);
    std::thread::sleep(REFRESH * 130);
    let before = requests();
    std::thread::sleep(REFRESH * 180);
    let quiet = requests() - before;
    assert!((2..=4).contains(&quiet), "{quiet} requests in three of the slowest pauses");

    let before = requests();
    let waiting = copy.reader(Position(20)).expect("a reader").wait();
    let reading = std::thread::spawn(move || waiting.wait());
    wait_until("it is refreshed more often", || requests() > before + 10);
    append(&log, 10);
    reading.join().expect("woken");
    follower.stop();
    scene.primary.stop();
}

#[test]
fn reader_of_a_collected_object_is_out_of_range() {
    let scene = Scene::start();
    let log = scene.log("log", 40);
    // It looks again only because of the missing object.
    let hour = Duration::from_secs(3600);
    let follower = Follower::every(hour, scene.directories[1].path(), &scene.s3.url(), &scene.s3);
    let copy = follower.await_end("log", 40);
    let store = scene.s3.store();
    let before = manifest(&store, &log);
    log.trim(Position(20)).expect("trimmed");
    wait_until("the manifest has the start", || manifest(&store, &log).start == Position(20));
    let segment = |at: usize| {
        let entry = before.entries[at];
        format!("logs/{}/{:020}-{:010}.seg", entry.home, entry.base.0, entry.epoch)
    };
    for at in 0..2 {
        scene.s3.remove(&segment(at));
    }
    let read = |position| {
        let mut reader = copy.reader(Position(position)).expect("a reader");
        match reader.record() {
            Ok(Found::NeedsStore(fetch)) => run(fetch).map(drop),
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(read(5), Err(Error::OutOfRange { start: Position(20), .. })));
    assert_eq!(copy.start_position(), Position(20));
    check_records(&copy, 20, 40);
    follower.stop();
    scene.primary.stop();
}

#[test]
fn missing_object_that_the_manifest_names_is_damage() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let entry = manifest(&scene.s3.store(), &log).entries[0];
    let key = format!("logs/{}/{:020}-{:010}.seg", entry.home, 0, entry.epoch);
    scene.s3.remove(&key);
    let mut reader = copy.reader(Position(5)).expect("a reader");
    let Ok(Found::NeedsStore(fetch)) = reader.record() else { panic!("it needs the store") };
    assert!(matches!(run(fetch), Err(Error::CorruptRecord { .. })));
    follower.stop();
    scene.primary.stop();
}

#[test]
fn restored_log_replaces_the_one_that_it_was_restored_from() {
    let scene = Scene::start();
    let log = scene.log("log", 30);
    let follower = scene.follow();
    follower.await_end("log", 30);
    let old = log.id();
    drop(log);
    let Scene { s3, primary, directories } = scene;
    primary.stop();

    let second = tempfile::tempdir().expect("a directory");
    let options = RestoreOptions {
        data_directory: second.path().to_owned(),
        logs: Wanted::All,
        until_us: None,
        adopts: false,
    };
    restore(&s3.store(), &options, &mut |_| {}).expect("restored");
    let primary = Server::on_s3(second.path(), &s3);
    let restored = primary.log("log");
    append(&restored, 15);
    wait_for_archived(&restored, 40);
    let copy = follower.await_end("log", 40);
    assert_eq!(copy.id(), restored.id());
    assert_ne!(copy.id(), old);
    check_records(&copy, 0, 40);
    drop(copy);
    follower.stop();

    // A replica that sees both at once serves the descendant too.
    let third = tempfile::tempdir().expect("a directory");
    let follower = Follower::start(third.path(), &s3);
    assert_eq!(follower.await_end("log", 40).id(), restored.id());
    follower.stop();
    primary.stop();
    drop(directories);
}

#[test]
fn manifest_of_another_owner_is_followed_and_names_it() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let store = scene.s3.store();
    let mut adopted = manifest(&store, &log);
    let key = format!("logs/{}/manifest", log.id());
    scene.primary.stop();
    adopted.owner = Owner { id: 7, name: "another".to_owned() };
    adopted.epoch += 5;
    scene.s3.put(&key, &adopted.encode(), Duration::ZERO);
    wait_until("the owner is known", || {
        copy.check_writable().expect_err("refused").to_string().contains("the server another")
    });
    check_records(&copy, 0, 20);
    follower.stop();
}

#[test]
fn log_with_another_history_is_attached_anew() {
    let scene = Scene::start();
    let (log, shorter) = (scene.log("log", 40), scene.log("shorter", 30));
    let follower = scene.follow();
    let copy = follower.await_end("log", 40);
    let mut reader = copy.reader(Position(0)).expect("a reader");
    let store = scene.s3.store();
    let [mut changed, other] = [&log, &shorter].map(|log| manifest(&store, log));
    let key = format!("logs/{}/manifest", log.id());
    scene.primary.stop();
    changed.entries = other.entries;
    scene.s3.put(&key, &changed.encode(), Duration::ZERO);
    let anew = follower.await_end("log", 30);
    assert_eq!(reader.read(1).expect_err("it was replaced").code(), Code::LogChanged);
    assert_eq!(anew.id(), changed.id);
    check_records(&anew, 0, 30);
    follower.stop();
}

#[test]
fn damaged_manifest_changes_nothing() {
    let scene = Scene::start();
    let log = scene.log("log", 20);
    let follower = scene.follow();
    let copy = follower.await_end("log", 20);
    let key = format!("logs/{}/manifest", log.id());
    let intact = scene.s3.object(&key).expect("a manifest").bytes;
    scene.primary.stop();
    scene.s3.put(&key, b"STXM", Duration::ZERO);
    wait_until("a failure", || follower.replica.stats().failures > 2);
    check_records(&copy, 0, 20);
    drop((copy, log));
    follower.stop();
    let follower = Follower::start(scene.directories[1].path(), &scene.s3);
    wait_until("it was listed", || follower.replica.stats().refreshes > 3);
    check_records(&follower.await_end("log", 20), 0, 20);
    scene.s3.put(&key, &intact, Duration::ZERO);
    let failures = || follower.replica.stats().failures;
    let before = failures();
    std::thread::sleep(REFRESH * 5);
    assert!(failures() <= before + 1, "it is intact again");
    follower.stop();
}

#[test]
fn replica_of_a_directory_follows_too() {
    let directories = [0, 1, 2].map(|_| tempfile::tempdir().expect("a directory"));
    let url = format!("file://{}", directories[0].path().display());
    let s3 = S3::start();
    let options = || styx_archive::store::Options::default();
    let primary = Server::open(directories[1].path(), &url, options());
    let log = primary.create("log");
    append(&log, 25);
    wait_for_archived(&log, 20);
    let follower = Follower::every(REFRESH, directories[2].path(), &url, &s3);
    check_records(&follower.await_end("log", 20), 0, 20);
    append(&log, 20);
    check_records(&follower.await_end("log", 40), 0, 40);
    follower.stop();
    primary.stop();
}

#[test]
fn thousand_logs_at_20_ms_are_served_within_seconds() {
    let s3 = S3::start();
    let owner = Owner { id: 1, name: "primary".to_owned() };
    for number in 0..1000u128 {
        let (id, log) = (LogId(number + 1), name(&format!("log-{number}")));
        let manifest = Manifest::new(log, id, LogConfig::default(), 1, owner.clone());
        s3.put(&format!("logs/{id}/manifest"), &manifest.encode(), Duration::ZERO);
    }
    s3.order(Method::GET, "", usize::MAX, Fault::Delay(20));
    let directory = tempfile::tempdir().expect("a directory");
    let started = Instant::now();
    let follower = Follower::every(Duration::from_secs(10), directory.path(), &s3.url(), &s3);
    wait_until("all logs are served", || follower.replica.stats().logs == 1000);
    eprintln!("1,000 logs after {:?}", started.elapsed());
    assert_eq!(s3.requests(Method::GET, "/manifest"), 1000, "one request each");
    follower.stop();
}
