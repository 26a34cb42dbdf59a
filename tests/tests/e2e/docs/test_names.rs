//! docs/reliability.md names the tests of each promise and of each sabotage feature.
//! Every named test and feature has to exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of all test functions.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["core-client", "server", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
                names.extend(name.split_once('(').map(|(name, _)| name.to_owned()));
            }
            is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        }
    }
    names
}

/// The names in backticks. Every one must be a test.
fn named<'a>(cell: &'a str, of: &str, tests: &BTreeSet<String>) -> Vec<&'a str> {
    let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    assert!(!named.is_empty(), "{of} has no test");
    for name in &named {
        assert!(tests.contains(*name), "{of}: there is no test {name}");
    }
    named
}

#[test]
fn every_sabotage_has_a_row_in_the_reliability_document() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).expect("the document");
    let sabotage = sabotage();
    let mistakes: BTreeSet<&str> = sabotage.split("    (\"").skip(1).map(until_quote).collect();
    assert!(mistakes.len() >= 6, "{mistakes:?}");
    let tests = tests();
    let mut rows = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, mistake, _, caught_by, _] = cells[..] else { continue };
        if mistakes.contains(mistake) {
            named(caught_by, mistake, &tests);
            rows.insert(mistake);
        }
    }
    assert_eq!(rows, mistakes);
}

/// The source that lists the mistakes.
fn sabotage() -> String {
    fs::read_to_string(root().join("server/engine/src/sabotage.rs")).expect("a source")
}

fn until_quote(text: &str) -> &str {
    text.split('"').next().unwrap_or_default()
}

#[test]
fn every_test_and_sabotage_named_by_a_promise_exists() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).expect("the document");
    let known = sabotage();
    let tests = tests();
    let mut promises = 0;
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, number, _, tested_by, sabotage, _] = cells[..] else { continue };
        if number.parse::<u8>().is_err() {
            continue;
        }
        promises += 1;
        named(tested_by, &format!("promise {number}"), &tests);
        for mistake in sabotage.split(", ").filter(|mistake| !mistake.is_empty()) {
            assert!(known.contains(&format!("(\"{mistake}\",")), "no mistake {mistake}");
        }
    }
    assert_eq!(promises, 13);
}
