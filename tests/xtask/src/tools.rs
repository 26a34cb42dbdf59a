//! The programs that the steps call, what to do when one is missing, and those
//! that are built into target/tools when they are not installed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{root, run};

/// A program of crates.io. Its version is fixed, so that a new release does not
/// fail old commits.
struct Tool {
    name: &'static str,
    version: &'static str,
    /// What `cargo install` needs beside its name and version.
    install: &'static [&'static str],
    /// How long its installation takes, for people.
    takes: &'static str,
}

const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    install: &["--no-default-features"],
    takes: "a minute",
};

const CARGO_FUZZ: Tool =
    Tool { name: "cargo-fuzz", version: "0.13.2", install: &[], takes: "half a minute" };

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

/// cargo, in the workspace. It gets none of what `cargo run` says of this package:
/// build scripts look at that, and would have ring and all that depends on it built
/// anew whenever somebody calls cargo in between.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    let said = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(said) {
            command.env_remove(name);
        }
    }
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

/// The same, as it is released.
pub(crate) fn released_styx() -> PathBuf {
    target().join("release").join("styx")
}

/// The folder of the examples' programs.
pub(crate) fn examples() -> PathBuf {
    target().join("debug")
}

/// Gets the flights' data, if it is not there.
pub(crate) fn flights() -> Command {
    let mut command = Command::new("bash");
    command.arg(root().join("examples/curl/flights.sh")).arg("prepare");
    command.env("FLIGHTS", target().join("flights"));
    command
}

impl Tool {
    /// The program, which is built first if it is not there; `None` when it
    /// cannot be.
    fn program(&self) -> Option<PathBuf> {
        let Tool { name, version, install, takes } = self;
        let tools = target().join("tools");
        let installed = tools.join("bin").join(name);
        let said = format!("{name} {version}");
        let right = |program: &PathBuf| {
            let output = Command::new(program).arg("--version").output();
            output.is_ok_and(|output| output.stdout.trim_ascii() == said.as_bytes())
        };
        if let Some(there) = [PathBuf::from(name), installed.clone()].into_iter().find(right) {
            return Some(there);
        }
        println!("building {said} into target/tools: about {takes}, once");
        // Built faster than it would be optimised: it runs for seconds.
        let mut cargo = cargo(&["install", name, "--version", version, "--locked", "--quiet"]);
        cargo.args(*install).arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo.arg("--root").arg(&tools);
        run("cargo install", &mut cargo).then_some(installed)
    }
}

/// cargo-fuzz; `None` when it cannot be built.
pub(crate) fn cargo_fuzz() -> Option<PathBuf> {
    CARGO_FUZZ.program()
}

/// Checks dependencies, licenses and sources with cargo-deny.
pub(crate) fn deny() -> bool {
    let Some(program) = CARGO_DENY.program() else { return false };
    // Advisories come from a database on the network: not part of this run.
    let mut deny = Command::new(program);
    deny.args(["--log-level", "error", "check", "--hide-inclusion-graph"]);
    deny.args(["bans", "licenses", "sources"]).current_dir(root());
    run("cargo-deny", &mut deny)
}
