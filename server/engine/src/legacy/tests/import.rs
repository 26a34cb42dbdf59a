//! Tests of `import`: each log is imported completely, or it is reported and not imported.
#![allow(clippy::disallowed_methods, reason = "tests inspect real files")]

use std::fs;
use std::path::Path;

use styx_protocol::{LogConfig, LogName};

use super::super::{ImportReport, Outcome, import};
use super::{Files, assert_intact, files, name, open, payloads};
use crate::{Error, Options};

fn write(directory: &Path, log: &str, files: &Files) {
    fs::create_dir_all(directory.join(log)).expect("created");
    for (name, bytes) in files {
        fs::write(directory.join(log).join(name), bytes).expect("written");
    }
}

fn copy(from: &Path, to: &Path, only: &[LogName]) -> Result<ImportReport, Error> {
    import(from, &Options::new(to), only, &mut |_| {})
}

#[test]
fn a_directory_is_imported_log_by_log() {
    let (from, to) =
        (tempfile::tempdir().expect("a source"), tempfile::tempdir().expect("a target"));
    write(from.path(), "good", &files());
    write(from.path(), "also-good", &files());
    write(from.path(), "empty", &files()[..1].to_vec());
    write(from.path(), "not.a.name", &files());
    let mut bad = files();
    bad[2].1[5] ^= 1;
    write(from.path(), "bad", &bad);
    let mut torn = files();
    torn[3].1.extend([0, 0, 0, 9, 1]);
    write(from.path(), "torn", &torn);
    let mut gone = files();
    gone.remove(3);
    write(from.path(), "gone", &gone);
    fs::create_dir(from.path().join("something-else")).expect("created");
    drop(open(to.path()).create(&name("also-good"), LogConfig::default()).expect("created"));

    let report = copy(from.path(), to.path(), &[]).expect("imported");
    let names: Vec<_> = report.logs.iter().map(|log| log.name.as_str()).collect();
    assert_eq!(names, ["also-good", "bad", "empty", "gone", "good", "not.a.name", "torn"]);
    assert_eq!(report.left(), 5);
    let outcome = |name: &str| {
        let log = report.logs.iter().find(|log| log.name == name);
        log.map(|log| log.outcome.clone()).expect("the log is in the report")
    };
    let damage = |log: &str, file: usize, offset: u64, position: u64| {
        let Outcome::Damaged(found) = outcome(log) else { panic!("{log}: {:?}", outcome(log)) };
        let file = from.path().join(log).join(&files()[file].0);
        assert_eq!((found.file, found.offset, found.position.0), (file, offset, position), "{log}");
    };
    damage("bad", 2, 0, 10);
    damage("torn", 3, 0, 12);
    damage("gone", 3, 0, 12);
    assert!(matches!(outcome("also-good"), Outcome::Refused(why) if why.contains("exists")));
    assert!(matches!(outcome("not.a.name"), Outcome::Refused(_)));
    let catalog = open(to.path());
    assert_eq!(catalog.list().len(), 3, "{:?}", catalog.list());
    assert_intact(&catalog.log(&name("good")).expect("opened"));
    assert_eq!(payloads(&catalog.log(&name("empty")).expect("opened")).len(), 0);
    assert!(!to.path().join("bad").exists());
}

#[test]
fn a_refused_import_changes_nothing() {
    let (from, to) =
        (tempfile::tempdir().expect("a source"), tempfile::tempdir().expect("a target"));
    write(from.path(), "a", &files());
    let refused = |from: &Path, to: &Path, only: &[LogName], why: &str| match copy(from, to, only) {
        Err(Error::DataDirectory { message }) => assert!(message.contains(why), "{message}"),
        other => panic!("{why}: {other:?}"),
    };
    refused(from.path(), to.path(), &[name("b")], "no log b");
    refused(to.path(), from.path(), &[], "no logs of Styx 0.x");
    refused(&from.path().join("a"), to.path(), &[], "single log");
    refused(from.path(), from.path(), &[], "inside");
    refused(from.path(), &from.path().join("new"), &[], "inside");
    let other = tempfile::tempdir().expect("a directory");
    write(other.path(), "b", &files());
    refused(from.path(), other.path(), &[], "styx import");
    assert!(!from.path().join("new").exists() && !other.path().join("a").exists());
    let running = open(to.path());
    refused(from.path(), to.path(), &[], "in use");
    drop(running);
    assert!(copy(&from.path().join("nowhere"), to.path(), &[]).is_err());
    let report = copy(from.path(), to.path(), &[name("a")]).expect("imported");
    assert_eq!(report.left(), 0, "{report:?}");
}
