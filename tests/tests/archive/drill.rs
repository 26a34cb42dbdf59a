//! `examples/archive`: the drill, as its README describes it.

use std::process::Command;

use styx_tests::object_store;
use styx_tests::{Scratch, binary};

#[test]
fn the_drill_reads_back_what_it_loaded() {
    let scratch = Scratch::new("drill");
    let output = Command::new("bash")
        .arg(binary::workspace().join("examples/archive/drill.sh"))
        .env("STYX", binary::styx())
        .env("VERSITYGW", object_store::program())
        .env("FLIGHTS", binary::target().join("flights"))
        .env("WORK", scratch.path())
        .output()
        .expect("bash is installed");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{errors}");
    for line in ["loaded 336776 records", "the disk is gone", "every byte is the same"] {
        assert!(stdout.contains(line), "no {line:?} in:\n{stdout}\n{errors}");
    }
}
