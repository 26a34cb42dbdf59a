//! Directories that users add, link, replace or remove in a data directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use styx_engine::verify::verify;
use styx_engine::{Catalog, Error, Log};
use styx_protocol::{Code, LogConfig, LogStatus, Position};
use tempfile::TempDir;

use crate::support::{close, name, open, read_all, records};

/// A data directory, and another directory beside it.
struct Scene {
    root: TempDir,
    data: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        fs::create_dir(&data).expect("created");
        Scene { root, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Creates the log `name` with two records, moves its directory to `to` and links it back.
    fn link_log(&self, name: &str, to: &Path) {
        let catalog = open(&self.data);
        create(&catalog, name);
        close(catalog);
        fs::rename(self.path(name), to).expect("moved");
        symlink(to, self.path(name)).expect("linked");
    }
}

/// Creates a log with two records.
fn create(catalog: &Catalog, log: &str) -> Log {
    let log = catalog.create(&name(log), LogConfig::default()).expect("created");
    append(&log, &["a", "b"]);
    log
}

fn append(log: &Log, payloads: &[&str]) {
    log.append_durably(records(payloads)).expect("durable");
}

/// An archive of a log with two records.
fn archive() -> Vec<u8> {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    let mut archive = Vec::new();
    create(&catalog, "log").backup(&mut archive).expect("a backup");
    archive
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

/// Every path below a directory, with the content of files and the targets of links.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        let content = if kind.is_symlink() {
            fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
        } else if kind.is_dir() {
            all.extend(snapshot(&path));
            Vec::new()
        } else {
            fs::read(&path).expect("read")
        };
        all.insert(path, content);
    }
    all
}

fn status(catalog: &Catalog, log: &str) -> Option<LogStatus> {
    catalog.info(&name(log)).ok().map(|info| info.status)
}

#[test]
fn create_and_restore_change_nothing_that_has_the_name() {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    create(&catalog, "log");
    // The log is open, so its watermark may change.
    let snapshot = |directory: &Path| {
        let mut all = snapshot(directory);
        all.retain(|path, _| !path.starts_with(scene.path("log")));
        all
    };
    copy(&scene.path("log"), &scene.path("unlisted"));
    copy(&scene.path("log"), &scene.outside("disk"));
    fs::create_dir(scene.path("empty")).expect("created");
    fs::create_dir(scene.path("foreign")).expect("created");
    fs::write(scene.path("foreign").join("notes"), "x").expect("written");
    fs::write(scene.path("file"), "x").expect("written");
    symlink(scene.outside("disk"), scene.path("linked")).expect("linked");
    symlink("nothing", scene.path("dangling")).expect("linked");
    symlink("loop", scene.path("loop")).expect("linked");
    let before = snapshot(scene.root.path());
    let archive = archive();
    for (taken, said) in [
        ("log", "already exists: choose"),
        ("unlisted", "it is the directory of a log, which this server does not serve; serve it"),
        ("empty", "it is an empty directory; move it away"),
        ("foreign", "it is a directory with other files"),
        ("file", "it is a file"),
        ("linked", "/disk, the directory of a log, which this server does not serve"),
        ("dangling", "it is a symbolic link to nothing"),
        ("loop", "it is a symbolic link that cannot be followed"),
    ] {
        let created = catalog.create(&name(taken), LogConfig::default()).map(drop);
        let restored = catalog.restore(&name(taken), &mut archive.as_slice()).map(drop);
        for refused in [created, restored] {
            let error = refused.expect_err(taken);
            assert_eq!(error.code(), Code::LogExist, "{taken}: {error}");
            assert!(error.to_string().contains(said), "{taken}: {error}");
        }
        assert_eq!(status(&catalog, taken).is_some(), taken == "log", "{taken}");
    }
    assert_eq!(snapshot(scene.root.path()), before);
}

#[test]
fn a_linked_log_is_served_verified_and_deleted_without_other_files() {
    let (scene, disk) = (Scene::new(), tempfile::tempdir().expect("a directory"));
    let target = disk.path().join("orders");
    scene.link_log("orders", &target);
    let catalog = open(&scene.data);
    let log = catalog.log(&name("orders")).expect("served");
    append(&log, &["c"]);
    assert_eq!(read_all(&log), [b"a", b"b", b"c"]);
    drop(log);
    close(catalog);
    let report = verify(&scene.data, &mut |_| {}).expect("verified");
    assert!(report.is_good() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.logs.first().map(|log| log.records), Some(3));

    fs::write(target.join("notes"), "x").expect("written");
    let catalog = open(&scene.data);
    catalog.delete(&name("orders")).expect("deleted");
    assert_eq!(status(&catalog, "orders"), None);
    assert!(!scene.path("orders").is_symlink());
    assert_eq!(snapshot(&target).into_keys().collect::<Vec<_>>(), [target.join("notes")]);
    create(&catalog, "orders");
}

#[test]
fn truncating_a_linked_log_keeps_the_link() {
    let scene = Scene::new();
    let target = scene.outside("disk");
    scene.link_log("orders", &target);
    let catalog = open(&scene.data);
    let log = catalog.truncate(&name("orders")).expect("truncated");
    append(&log, &["c"]);
    drop(log);
    close(catalog);
    assert!(scene.path("orders").is_symlink());
    let catalog = open(&scene.data);
    let log = catalog.log(&name("orders")).expect("served");
    assert_eq!(read_all(&log), [b"c"]);
}

/// Two writers of one directory would destroy the log.
#[test]
fn a_directory_with_two_names_is_served_under_one_of_them() {
    let scene = Scene::new();
    scene.link_log("orders", &scene.outside("disk"));
    symlink(scene.outside("disk"), scene.path("again")).expect("linked");
    let catalog = open(&scene.data);
    create(&catalog, "plain");
    symlink("plain", scene.path("again-plain")).expect("linked");
    let mut statuses = ["again", "orders"].map(|log| status(&catalog, log).expect("listed"));
    statuses.sort_by_key(|status| *status == LogStatus::Unknown);
    assert_eq!(statuses, [LogStatus::Ok, LogStatus::Unknown]);
    let refused = catalog.adopt(&name("again-plain")).expect_err("it is in use").to_string();
    assert!(refused.contains("which another log or server uses"), "{refused}");

    close(catalog);
    let catalog = open(&scene.data);
    assert_eq!(status(&catalog, "plain"), Some(LogStatus::Ok));
    assert_eq!(status(&catalog, "again-plain"), Some(LogStatus::Unknown));
    let before: Vec<_> = snapshot(&scene.path("plain")).into_keys().collect();
    catalog.delete(&name("again-plain")).expect_err("another log uses the directory");
    catalog.truncate(&name("again-plain")).expect_err("another log uses the directory");
    assert_eq!(snapshot(&scene.path("plain")).into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn a_linked_log_that_another_catalog_uses_is_unknown() {
    let (one, other) = (Scene::new(), Scene::new());
    let owner = open(&one.data);
    create(&owner, "orders");
    symlink(one.path("orders"), other.path("orders")).expect("linked");
    let catalog = open(&other.data);
    assert_eq!(status(&catalog, "orders"), Some(LogStatus::Unknown));
    close(owner);
    catalog.adopt(&name("orders")).expect("nothing else uses it any more");
    assert_eq!(status(&catalog, "orders"), Some(LogStatus::Ok));
    let refused = Catalog::open(styx_engine::Options::new(&one.data)).map(drop);
    refused.expect_err("the other catalog uses a log in it");
}

#[test]
fn a_directory_that_cannot_be_opened_is_one_unknown_log() {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    create(&catalog, "good");
    close(catalog);
    let long = "x".repeat(300);
    symlink("loop", scene.path("loop")).expect("linked");
    symlink(&long, scene.path("long")).expect("linked");
    symlink("nothing", scene.path("dangling")).expect("linked");
    fs::write(scene.path("file"), "x").expect("written");
    symlink("file", scene.path("linked-file")).expect("linked");

    let catalog = open(&scene.data);
    append(&catalog.log(&name("good")).expect("open"), &["c"]);
    for (log, cause) in [("loop", "symbolic links"), ("long", "name too long")] {
        assert_eq!(status(&catalog, log), Some(LogStatus::Unknown));
        let error = catalog.log(&name(log)).expect_err("it cannot be opened").to_string();
        assert!(error.to_lowercase().contains(cause), "{error}");
    }
    assert_eq!(catalog.list().len(), 3, "{:?}", catalog.list());
    close(catalog);
    let report = verify(&scene.data, &mut |_| {}).expect("verified");
    let good: Vec<_> = report.logs.iter().filter(|log| log.problems.is_empty()).collect();
    assert_eq!((good.len(), report.logs.len(), report.notes.len()), (1, 3, 3), "{report:?}");
}

#[test]
fn an_empty_or_foreign_directory_is_not_a_log_and_is_kept() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("empty/0")).expect("created");
    fs::create_dir_all(scene.path("empty2")).expect("created");
    fs::create_dir_all(scene.path("photos/2026")).expect("created");
    fs::write(scene.path("photos/2026/one.tmp"), "x").expect("written");
    fs::write(scene.path("photos/log.toml"), "level = 1").expect("written");
    let before = snapshot(&scene.data);
    let catalog = open(&scene.data);
    assert_eq!(catalog.list(), []);
    for log in ["empty", "empty2", "photos"] {
        let missing = catalog.delete(&name(log)).expect_err("not a log");
        assert_eq!(missing.code(), Code::LogNotFound);
        catalog.adopt(&name(log)).map(drop).expect_err("not a log");
    }
    close(catalog);
    let mut after = snapshot(&scene.data);
    after.retain(|path, _| !path.ends_with(".lock"));
    assert_eq!(after, before);
}

#[test]
fn deleting_a_log_keeps_the_files_of_others_in_its_directory() {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    create(&catalog, "orders");
    let notes = scene.path("orders").join("notes");
    fs::write(&notes, "x").expect("written");
    let kept = catalog.delete(&name("orders")).expect_err("something is left");
    assert!(matches!(&kept, Error::DirectoryKept { path, .. } if *path == notes), "{kept}");
    assert_eq!(status(&catalog, "orders"), None);
    assert_eq!(
        snapshot(&scene.path("orders")).into_keys().collect::<Vec<_>>(),
        std::slice::from_ref(&notes)
    );
    catalog.create(&name("orders"), LogConfig::default()).expect_err("the directory exists");
    fs::remove_file(notes).expect("removed");
    fs::remove_dir(scene.path("orders")).expect("removed");
    create(&catalog, "orders");
}

/// Appends were acknowledged into a file that had no name any more.
#[test]
fn an_append_to_a_removed_directory_fails_and_the_log_can_be_created_again() {
    for delete_first in [true, false] {
        for remove in ["orders", "orders/0", "orders/0/00000000000000000000.seg"] {
            let scene = Scene::new();
            let catalog = open(&scene.data);
            let log = create(&catalog, "orders");
            let path = scene.path(remove);
            match path.is_dir() {
                true => fs::remove_dir_all(path).expect("removed"),
                false => fs::remove_file(path).expect("removed"),
            }
            let failed = log.append_durably(records(["c"])).expect_err(remove);
            // Maintenance may have noticed it before the append did.
            let codes = [Code::OutcomeUnknown, Code::LogNotAvailable];
            assert!(codes.contains(&failed.code()), "{failed}");
            assert!(failed.to_string().contains("was removed or replaced"), "{failed}");
            assert_eq!(status(&catalog, "orders"), Some(LogStatus::Tainted));
            assert_eq!(log.end_position(), Position(2));
            let refused = log.append_durably(records(["d"])).expect_err("tainted");
            assert_eq!(refused.code(), Code::LogNotAvailable);
            if delete_first || remove != "orders" {
                catalog.delete(&name("orders")).expect("deleted");
                assert_eq!(status(&catalog, "orders"), None);
            }
            let log = catalog.create(&name("orders"), LogConfig::default()).expect("created");
            append(&log, &["e"]);
            drop(log);
            close(catalog);
            let catalog = open(&scene.data);
            let log = catalog.log(&name("orders")).expect("open");
            assert_eq!(read_all(&log), [b"e"]);
        }
    }
}

#[test]
fn a_replaced_directory_is_not_changed_and_can_be_adopted() {
    for replace_by_log in [true, false] {
        let scene = Scene::new();
        let catalog = open(&scene.data);
        let config = LogConfig { segment_max_count: 1, ..LogConfig::default() };
        let log = catalog.create(&name("orders"), config).expect("created");
        append(&log, &["a"]);
        append(&log, &["b"]);
        let id = log.id();
        copy(&scene.path("orders"), &scene.outside("copy"));
        fs::rename(scene.path("orders"), scene.outside("old")).expect("moved");
        match replace_by_log {
            true => copy(&scene.outside("copy"), &scene.path("orders")),
            false => fs::create_dir(scene.path("orders")).expect("created"),
        }
        let before = snapshot(&scene.path("orders"));

        // The segment is full, so this append would create a file.
        log.append_durably(records(["c"])).expect_err("the directory was replaced");
        let _ = log.trim(Position(1)).expect_err("the segment is of another log");
        catalog.truncate(&name("orders")).map(drop).expect_err("the directory was replaced");
        assert_eq!(status(&catalog, "orders"), Some(LogStatus::Tainted));
        assert_eq!(snapshot(&scene.path("orders")), before);
        if !replace_by_log {
            catalog.adopt(&name("orders")).map(drop).expect_err("it is empty");
            catalog.delete(&name("orders")).expect("the log is forgotten");
            assert!(scene.path("orders").is_dir());
            continue;
        }
        let adopted = catalog.adopt(&name("orders")).expect("adopted");
        assert_ne!(adopted.id(), id);
        assert_eq!(read_all(&adopted), [b"a", b"b"]);
        append(&adopted, &["d"]);
        assert!(log.append_durably(records(["e"])).is_err(), "the old handle is closed");
    }
}

#[test]
fn an_unlisted_log_is_reported_and_adopted_with_an_id_of_its_own() {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    let original = create(&catalog, "orders");
    copy(&scene.path("orders"), &scene.path("copy"));
    copy(&scene.path("orders"), &scene.outside("disk"));
    symlink(scene.outside("disk"), scene.path("linked")).expect("linked");
    let missing = catalog.why_missing(&name("copy"));
    assert_eq!(missing.code(), Code::LogNotFound);
    assert!(missing.to_string().contains("`styx logs adopt copy`"), "{missing}");
    assert!(matches!(catalog.why_missing(&name("none")), Error::LogNotFound { .. }));
    let none = catalog.adopt(&name("none")).map(drop).expect_err("there is nothing");
    assert!(matches!(none, Error::LogNotFound { .. }), "{none}");

    let mut ids = vec![original.id()];
    for adopted in ["copy", "linked"] {
        let log = catalog.adopt(&name(adopted)).expect(adopted);
        assert_eq!(read_all(&log), [b"a", b"b"]);
        append(&log, &["c"]);
        assert_eq!(catalog.adopt(&name(adopted)).expect("again").id(), log.id());
        assert!(!ids.contains(&log.id()));
        ids.push(log.id());
    }
    drop(original);
    close(catalog);
    let catalog = open(&scene.data);
    let reopened = ["orders", "copy", "linked"].map(|log| catalog.log(&name(log)).expect("open"));
    assert_eq!(reopened.map(|log| log.id()).as_slice(), ids);
}

#[test]
fn remains_of_interrupted_commands_are_removed_without_files_of_others() {
    let scene = Scene::new();
    let catalog = open(&scene.data);
    create(&catalog, "a");
    close(catalog);
    fs::rename(scene.path("a"), scene.outside("disk")).expect("moved");
    fs::write(scene.outside("disk").join("notes"), "x").expect("written");
    symlink(scene.outside("disk"), scene.path(".deleted-1")).expect("linked");
    fs::create_dir_all(scene.path(".restoring-2/0")).expect("created");
    fs::create_dir_all(scene.path(".deleted-3")).expect("created");
    fs::write(scene.path(".deleted-3/notes"), "x").expect("written");
    let catalog = open(&scene.data);
    assert_eq!(catalog.list(), []);
    let left: Vec<_> = snapshot(scene.root.path()).into_keys().collect();
    let expected =
        ["data", "data/.deleted-3", "data/.deleted-3/notes", "data/.lock", "disk", "disk/notes"];
    assert_eq!(left, expected.map(|path| scene.outside(path)));
}
