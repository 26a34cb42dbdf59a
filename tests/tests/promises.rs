//! docs/reliability.md names the test of each promise: every one of them exists,
//! and so does every sabotage feature.

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

#[test]
fn every_test_and_sabotage_that_the_promises_name_exists() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).expect("the document");
    let manifest = fs::read_to_string(root().join("server/engine/Cargo.toml")).expect("a manifest");
    let tests = tests();
    let mut promises = 0;
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, number, _, named, sabotage, _] = cells[..] else { continue };
        if number.parse::<u8>().is_err() {
            continue;
        }
        promises += 1;
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "promise {number} has no test");
        for name in named {
            assert!(tests.contains(name), "promise {number}: there is no test {name}");
        }
        for feature in sabotage.split(", ").filter(|feature| !feature.is_empty()) {
            assert!(manifest.contains(&format!("\n{feature} = []")), "no feature {feature}");
        }
    }
    assert_eq!(promises, 10);
}
