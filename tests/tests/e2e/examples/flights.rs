//! Real input: 336,776 flights from New York. The example loads them with curl and with
//! the command line.

use std::process::Command;

use styx_tests::{Scratch, binary};

#[test]
fn the_flights_example_reads_back_what_it_loaded() {
    let scratch = Scratch::new("flights");
    let script = binary::workspace().join("examples/curl/flights.sh");
    let output = Command::new("bash")
        .arg(&script)
        .env("STYX", binary::styx())
        .env("FLIGHTS", binary::target().join("flights"))
        .env("WORK", scratch.path())
        .output()
        .expect("bash is installed");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{errors}");
    for line in [
        "336776 flights",
        "loaded by curl, 336776 records",
        "loaded by styx, 336776 records",
        "same lines of by-curl",
        "same binary records",
        "same after backup and restore: restored-by-curl",
        "same after backup and restore: restored-by-styx",
        "all is the same",
    ] {
        assert!(stdout.contains(line), "no {line:?} in:\n{stdout}\n{errors}");
    }
}
