//! Tests of the files `package.json`: one version everywhere, a license, and no script at an
//! installation.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CLIENT, SERVER, client, files};
use crate::{root, tools};

/// The folders with a `package.json` that is published.
fn packages() -> Vec<PathBuf> {
    let manifests = [CLIENT, SERVER].into_iter().flat_map(|folder| {
        let folder = root().join(folder);
        let mut found = files::below(&folder.join("npm"), &["/package.json"]);
        found.push(folder.join("package.json"));
        found
    });
    manifests.filter_map(|manifest| Some(manifest.parent()?.to_owned())).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_package_has_the_version_of_the_workspace() {
    let version = tools::version().expect("Cargo.toml has a version");
    assert_eq!(packages().len(), 8);
    for folder in packages() {
        let manifest = folder.join("package.json");
        let text = text(&manifest);
        let expected = format!("\"version\": \"{version}\"");
        assert!(text.contains(&expected), "{}: {expected}", manifest.display());
        let of_platforms = text
            .lines()
            .filter(|line| line.contains("\": \"") && line.trim().starts_with("\"@styx-"));
        for line in of_platforms {
            assert!(line.contains(&format!("\": \"{version}\"")), "{}: {line}", manifest.display());
        }
    }
    let lock = text(&client().join("package-lock.json"));
    // The package twice, three optional dependencies, and these packages.
    assert_eq!(lock.matches(&format!("\": \"{version}\"")).count(), 8);
}

#[test]
fn lock_file_names_no_registry() {
    let lock = text(&client().join("package-lock.json"));
    assert!(!lock.contains("\"resolved\": \"http"), "set npm's omit-lockfile-registry-resolved");
}

#[test]
fn every_package_has_the_license() {
    let license = text(&root().join("LICENSE"));
    for folder in packages() {
        assert!(text(&folder.join("LICENSE")) == license, "{}/LICENSE", folder.display());
    }
}

#[test]
fn installing_runs_no_script() {
    for folder in packages() {
        let text = text(&folder.join("package.json"));
        for script in ["install", "preinstall", "postinstall", "prepare"] {
            assert!(!text.contains(&format!("\"{script}\":")), "{}: {script}", folder.display());
        }
    }
}
