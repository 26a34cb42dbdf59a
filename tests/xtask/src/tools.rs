//! The programs that the steps call, what to do when one is missing, and
//! cargo-deny, which is built into target/tools when it is not installed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{root, run};

/// Its version is fixed, so that a new release does not fail old commits.
const CARGO_DENY: &str = "0.20.2";

/// What the tests need beside cargo: the program, a call that shows it works,
/// what needs it, and how to get it.
const NEEDED: [(&str, &[&str], &str, &str); 6] = [
    ("bash", &["--version"], "the examples", "apt-get install bash"),
    ("curl", &["--version"], "the examples and the documents", "apt-get install curl"),
    (
        "python3",
        &["-m", "pip", "--version"],
        "the flights data (with pip)",
        "apt-get install python3 python3-pip",
    ),
    ("strace", &["--version"], "tests of failing disks", "apt-get install strace"),
    ("unshare", &["--version"], "tests of full disks", "apt-get install util-linux"),
    ("date", &["--version"], "tests of reading by time", "apt-get install coreutils"),
];

/// Says what is missing on this machine.
pub(crate) fn all_there() -> bool {
    let mut missing = 0;
    for (program, call, what_for, how) in NEEDED {
        let works = Command::new(program)
            .args(call)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !works {
            eprintln!("missing: `{program} {}`, for {what_for}: {how}", call.join(" "));
            missing += 1;
        }
    }
    missing == 0
}

/// cargo, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(path) => root().join(path),
        None => root().join("target"),
    }
}

/// The binary that the tests run.
pub(crate) fn styx() -> PathBuf {
    target().join("debug").join("styx")
}

/// Gets the flights' data, if it is not there.
pub(crate) fn flights() -> Command {
    let mut command = Command::new("bash");
    command.arg(root().join("examples/curl/flights.sh")).arg("prepare");
    command.env("FLIGHTS", target().join("flights"));
    command
}

/// Checks dependencies, licenses and sources with cargo-deny.
pub(crate) fn deny() -> bool {
    let tools = target().join("tools");
    let installed = tools.join("bin").join("cargo-deny");
    let version = |program: &PathBuf| {
        let output = Command::new(program).arg("--version").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let right = |program: &PathBuf| {
        version(program).is_some_and(|v| v.trim() == format!("cargo-deny {CARGO_DENY}"))
    };
    let on_path = PathBuf::from("cargo-deny");
    let program = match [on_path, installed.clone()].into_iter().find(right) {
        Some(program) => program,
        None => {
            println!("building cargo-deny {CARGO_DENY} into target/tools: about two minutes, once");
            let mut install = cargo(&["install", "cargo-deny", "--locked", "--quiet"]);
            install.args(["--no-default-features", "--version", CARGO_DENY, "--root"]).arg(&tools);
            if !run("cargo install", &mut install) {
                return false;
            }
            installed
        }
    };
    // Advisories come from a database on the network: not part of this run.
    let mut deny = Command::new(program);
    deny.args(["--log-level", "error", "check", "--hide-inclusion-graph"]);
    deny.args(["bans", "licenses", "sources"]).current_dir(root());
    run("cargo-deny", &mut deny)
}
