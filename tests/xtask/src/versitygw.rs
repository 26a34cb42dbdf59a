//! The step `object-store`: versitygw, a server with the API of S3, for the tests of the archive.
//!
//! Go builds it from the module proxy into `target/tools/versitygw-VERSION`, once. The tests
//! look there too (`tests/src/object_store.rs`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::tally::Tally;
use crate::{run, tools};

/// Fixed, so that a new release does not fail old commits. `tests/src/object_store.rs` has the
/// same number.
const VERSION: &str = "1.8.0";
const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw";

/// Whether the program is there now. Builds it if it is missing.
pub(crate) fn step() -> Tally {
    Tally::step(is_built() || build())
}

fn folder() -> PathBuf {
    tools::target().join(format!("tools/versitygw-{VERSION}"))
}

/// The program, whether it is there or not.
pub(crate) fn program() -> PathBuf {
    folder().join("versitygw")
}

fn is_built() -> bool {
    program().is_file()
}

fn build() -> bool {
    if !tools::is_go_installed() {
        return false;
    }
    println!(
        "building versitygw {VERSION} into target/tools once, which takes about three minutes"
    );
    // Go's own caches, which have a gigabyte of sources. They are not needed after the build.
    let caches = tools::target().join("tools/go");
    let mut go = Command::new("go");
    go.args(["install", &format!("{MODULE}@v{VERSION}")]);
    go.env("GOBIN", folder()).env("GOPATH", &caches).env("GOCACHE", caches.join("build"));
    // Directories that can be removed, and no other version of Go.
    go.env("GOFLAGS", "-modcacherw -trimpath").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    let built = run("go install", &mut go);
    let _ = fs::remove_dir_all(caches);
    if !built {
        eprintln!(
            "versitygw could not be built, for the tests of the archive: check that the Go module \
             proxy can be reached (`go env GOPROXY`) and try again"
        );
    }
    built
}
