//! The test binaries of `tests/tests`, and which of their tests a name selects.
//!
//! Cargo is always given the whole workspace: with `--package` it unifies features
//! over fewer crates, and builds tokio, ring and zstd a second time for it.

use std::ffi::OsString;
use std::process::Stdio;

use crate::tally::{self, Tally};
use crate::{c, node, python, root, tools, versitygw};

/// A test binary, and the paths of its tests, such as `styx1::producer::…`.
struct Suite {
    binary: String,
    tests: Vec<String>,
}

/// The arguments with which cargo builds the binaries of `tests/tests`, the programs that they
/// run, and the native module for Node.js, which is a library.
pub(crate) fn build() -> Vec<String> {
    let mut arguments = words(&["build", "--locked", "--workspace", "--lib", "--bins"]);
    arguments.extend(binaries().into_iter().flat_map(|name| ["--test".to_owned(), name]));
    arguments
}

/// Runs the tests that `name` selects; `None` if it selects none.
pub(crate) fn run(name: &str) -> Option<Tally> {
    let suites: Vec<Suite> = binaries().into_iter().filter_map(listed).collect();
    let selected = select(&suites, name);
    if selected.is_empty() {
        let modules = modules(&suites);
        eprintln!("no step, module or test is called {name}");
        eprintln!("modules: {}", modules.join(", "));
        return None;
    }
    let mut total = Tally::default();
    for suite in selected {
        let arguments = words(&["test", "--locked", "--workspace", "--test", &suite.binary, "--"]);
        let mut command = tools::cargo(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.arg("--exact").args(&suite.tests);
        command.envs(environment());
        total.add(tally::run(command));
    }
    Some(total)
}

/// The programs that the tests run. A test that needs the release binary builds it,
/// unless `STYX_RELEASE_BIN` says where it is. Every driver of the conformance suite must run.
/// The driver in Python needs what the step `python-wheel` has installed, that for Node.js what
/// the step `node-build` has built, and that in C what the step `c-build` has built.
pub(crate) fn environment() -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("STYX_BIN", tools::styx().into()),
        ("STYX_EXAMPLES", tools::examples().into()),
        ("STYX_CONFORMANCE_ALL", "1".into()),
        // Tests of the archiver that need it are skipped without the variable.
        ("STYX_TEST_VERSITYGW", versitygw::program().into()),
    ];
    variables.extend(node::build::built().map(|folder| ("STYX_NODE", folder.into())));
    variables.extend(c::build::driver().map(|path| ("STYX_C", path.into())));
    variables.extend(python::wheel::interpreter().map(|path| ("STYX_PYTHON", path.into())));
    variables
}

/// Every folder of `tests/tests` with a `main.rs` is a binary.
fn binaries() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("tests/tests"));
    let folders = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.filter(|folder| folder.join("main.rs").is_file());
    let mut names: Vec<String> =
        folders.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// The tests of a binary, as the binary itself lists them.
fn listed(binary: String) -> Option<Suite> {
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--test", &binary]);
    command.args(["--quiet", "--", "--list", "--format=terse"]).stderr(Stdio::inherit());
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let tests = tests.map(str::to_owned).collect();
    output.status.success().then_some(Suite { binary, tests })
}

/// The tests in the binary or in the modules of this name. If there are none, the
/// tests whose path contains the name.
fn select(suites: &[Suite], name: &str) -> Vec<Suite> {
    let is_in = |binary: &str, test: &str| {
        let modules = test.rsplit_once("::").map_or("", |(modules, _)| modules);
        binary == name || format!("::{modules}::").contains(&format!("::{name}::"))
    };
    let by_module = filter(suites, is_in);
    if by_module.is_empty() { filter(suites, |_, test| test.contains(name)) } else { by_module }
}

fn filter(suites: &[Suite], is_selected: impl Fn(&str, &str) -> bool) -> Vec<Suite> {
    let of = |suite: &Suite| Suite {
        binary: suite.binary.clone(),
        tests: suite
            .tests
            .iter()
            .filter(|test| is_selected(&suite.binary, test))
            .cloned()
            .collect(),
    };
    suites.iter().map(of).filter(|suite| !suite.tests.is_empty()).collect()
}

/// The binaries, and every module with tests in it.
fn modules(suites: &[Suite]) -> Vec<String> {
    let mut names: Vec<String> = suites.iter().map(|suite| suite.binary.clone()).collect();
    for test in suites.iter().flat_map(|suite| &suite.tests) {
        let mut path = test.as_str();
        while let Some((modules, _)) = path.rsplit_once("::") {
            names.push(modules.to_owned());
            path = modules;
        }
    }
    names.sort();
    names.dedup();
    names
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites() -> Vec<Suite> {
        let suite =
            |binary: &str, tests: &[&str]| Suite { binary: binary.to_owned(), tests: words(tests) };
        vec![
            suite("e2e", &["http::follow::polls_end", "styx1::producer::a_kill_is_survived"]),
            suite("faults", &["kill::acked_records_stay", "styx0_kill::acked_records_stay"]),
        ]
    }

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let selected = select(&suites(), name);
        let tests: Vec<_> = selected.into_iter().flat_map(|suite| suite.tests).collect();
        assert_eq!(tests, expected, "{name}");
    }

    #[test]
    fn a_name_selects_a_binary_a_module_or_else_tests() {
        check("faults", &["kill::acked_records_stay", "styx0_kill::acked_records_stay"]);
        check("kill", &["kill::acked_records_stay"]);
        check("styx1", &["styx1::producer::a_kill_is_survived"]);
        check("http::follow", &["http::follow::polls_end"]);
        check("polls_end", &["http::follow::polls_end"]);
        check("acked", &["kill::acked_records_stay", "styx0_kill::acked_records_stay"]);
        check("nothing", &[]);
    }

    #[test]
    fn every_module_is_listed_with_its_parents() {
        let expected = [
            "e2e",
            "faults",
            "http",
            "http::follow",
            "kill",
            "styx0_kill",
            "styx1",
            "styx1::producer",
        ];
        assert_eq!(modules(&suites()), expected);
    }

    #[test]
    fn the_binaries_of_the_tests_are_found() {
        assert_eq!(binaries(), ["alone", "archive", "conformance", "e2e", "faults"]);
    }
}
