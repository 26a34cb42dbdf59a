//! The table of drivers. A driver is a program that does with one client library what the runner
//! asks; tests/conformance/README.md has its protocol.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use styx_tests::faults;

/// Set by `cargo xtask test`: a driver that cannot run is a failure instead of a skipped test.
const ALL: &str = "STYX_CONFORMANCE_ALL";

pub(crate) struct Driver {
    pub(crate) name: &'static str,
    /// The command that runs it, or why it cannot run and what to do.
    pub(crate) command: fn() -> Result<Command, String>,
    /// Changes each answer before the runner sees it. Only for tests of the runner.
    pub(crate) change: Option<fn(&mut Value)>,
}

/// Every driver in the tree. `scenarios!` in main.rs has the same names.
pub(crate) const DRIVERS: &[Driver] = &[
    Driver { name: "c", command: c, change: None },
    Driver { name: "node", command: node, change: None },
    Driver { name: "python", command: || python("python"), change: None },
    Driver { name: "python_aio", command: || python("python_aio"), change: None },
    Driver { name: "rust", command: rust, change: None },
];

/// The interpreter of an environment in which styx-client is installed.
const PYTHON: &str = "STYX_PYTHON";

/// The program that drivers/c/driver.c was compiled to.
const C: &str = "STYX_C";

/// The folder of the Node.js package, with `dist` and `npm/PLATFORM` built.
const NODE: &str = "STYX_NODE";

pub(crate) fn rust() -> Result<Command, String> {
    Ok(Command::new(Path::new(env!("CARGO_BIN_EXE_styx-conformance-driver"))))
}

fn c() -> Result<Command, String> {
    let advice =
        "run `cargo xtask test --only c-build`, then `cargo xtask test --only conformance`";
    let Some(program) = std::env::var_os(C).map(PathBuf::from) else {
        return Err(format!("{C} is not set: {advice}"));
    };
    if !program.is_file() {
        return Err(format!("{} is missing: {advice}", program.display()));
    }
    Ok(Command::new(program))
}

fn python(driver: &str) -> Result<Command, String> {
    let Some(python) = std::env::var_os(PYTHON).map(PathBuf::from) else {
        return Err(format!(
            "{PYTHON} is not set: run `cargo xtask test --only python-wheel`, then \
             `cargo xtask test --only conformance`"
        ));
    };
    let folder = styx_tests::binary::workspace().join("tests/conformance/drivers");
    let mut command = Command::new(python);
    // Warnings of the client, such as that of an object that was not closed, are no output.
    command.args(["-W", "ignore::ResourceWarning"]).arg(folder.join(driver).join("driver.py"));
    Ok(command)
}

fn node() -> Result<Command, String> {
    static RUNS: LazyLock<bool> = LazyLock::new(|| {
        let mut command = Command::new("node");
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    let advice = "run `cargo xtask test --only node`, then `cargo xtask test --only conformance`";
    let Some(package) = std::env::var_os(NODE).map(PathBuf::from) else {
        return Err(format!("{NODE} is not set: {advice}"));
    };
    let entry = package.join("dist/index.mjs");
    if !entry.is_file() {
        return Err(format!("{} is missing: {advice}", entry.display()));
    }
    if !*RUNS {
        return Err("node is not in the PATH: install Node.js".to_owned());
    }
    let mut command = Command::new("node");
    command.arg(styx_tests::binary::workspace().join("tests/conformance/drivers/node/driver.mjs"));
    Ok(command)
}

/// The driver of this name. `None` after it was reported that it cannot run here.
///
/// # Panics
/// When it cannot run although all drivers must.
pub(crate) fn named(name: &str) -> Option<&'static Driver> {
    let driver = DRIVERS.iter().find(|driver| driver.name == name);
    let driver = driver.unwrap_or_else(|| panic!("there is no driver {name}"));
    match availability(driver, all_must_run()) {
        Availability::Yes => Some(driver),
        Availability::No(why) => {
            faults::skip(&why);
            None
        }
        Availability::Missing(why) => panic!("{why}"),
    }
}

/// The drivers that can run here. The tests of the others report them.
///
/// # Panics
/// When one cannot run although all drivers must.
pub(crate) fn available() -> Vec<&'static Driver> {
    let can_run = |driver: &&Driver| match availability(driver, all_must_run()) {
        Availability::Yes => true,
        Availability::No(_) => false,
        Availability::Missing(why) => panic!("{why}"),
    };
    DRIVERS.iter().filter(can_run).collect()
}

/// Whether a driver can run, and why not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Yes,
    /// Its tests are skipped.
    No(String),
    /// Its tests fail.
    Missing(String),
}

pub(crate) fn availability(driver: &Driver, all_must_run: bool) -> Availability {
    let why = match (driver.command)() {
        Ok(_) => return Availability::Yes,
        Err(why) => format!("the driver {} cannot run: {why}", driver.name),
    };
    if all_must_run { Availability::Missing(why) } else { Availability::No(why) }
}

fn all_must_run() -> bool {
    std::env::var_os(ALL).is_some()
}
