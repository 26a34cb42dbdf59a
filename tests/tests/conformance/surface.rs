//! The public names of the Python and the Node.js package are those of
//! `tests/conformance/surface/names.json`, so that a name is added to both, or for a reason to one.
//!
//! ```text
//! names.json ─ compared with ─ python.py, node.mjs: what the package exports
//! ```
//!
//! Options of the Node.js package are compared with those of the core. Its bigint twins, such as
//! `positionBigInt` beside `position`, are not in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value};
use styx_client::options::{OPTIONS, OptionInfo, OptionOf};
use styx_tests::binary;

use crate::drivers;

/// The members of each class.
type Surface = BTreeMap<String, BTreeSet<String>>;

/// How the name of a bigint twin ends.
const TWIN: &str = "BigInt";

/// An option that is for bindings only.
const HIDDEN: &str = "track_settled";

/// Types of the Node.js package that have no class in Python: options of a call, and parts of
/// others.
const ONLY_TYPES: [&str; 5] =
    ["CallOptions", "ErrorFacts", "PollOptions", "StyxEvent", "TimedOptions"];

fn folder() -> PathBuf {
    binary::workspace().join("tests/conformance/surface")
}

fn table() -> Map<String, Value> {
    let text = std::fs::read_to_string(folder().join("names.json")).expect("the table");
    let Value::Object(table) = serde_json::from_str(&text).expect("JSON") else {
        panic!("the table is no object")
    };
    table
}

/// The names that the package of a driver has; `None` if the driver cannot run here.
fn surface(driver: &str, program: &str) -> Option<Surface> {
    let command = (drivers::named(driver)?.command)().expect("it can run");
    let mut command = Command::new(command.get_program());
    let output = command.arg(folder().join(program)).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The strings of a list, or the keys of an object.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `close_timeout` as `closeTimeout`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        name + &initial.to_uppercase() + rest
    })
}

/// Says which names are missing, and which the table does not have.
fn compare(expected: &Surface, actual: &Surface) {
    let mut report = String::new();
    let classes: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    for class in classes {
        let none = BTreeSet::new();
        let (expected, actual) =
            (expected.get(class).unwrap_or(&none), actual.get(class).unwrap_or(&none));
        for name in expected.difference(actual) {
            report += &format!("{class}.{name} does not exist, but is in the table\n");
        }
        for name in actual.difference(expected) {
            report += &format!("{class}.{name} is not in the table: is it in every language?\n");
        }
    }
    assert!(report.is_empty(), "tests/conformance/surface/names.json:\n{report}");
}

#[test]
fn python_has_the_names_of_the_table() {
    let Some(mut actual) = surface("python", "python.py") else { return };
    // A class for each code. docs/errors.md has the codes.
    actual.retain(|class, _| class == "StyxError" || !class.ends_with("Error"));
    let table = table();
    let expected = table.iter().map(|(class, row)| {
        let names = strings(&row["same"]).into_iter().chain(strings(&row["python"]));
        (class.clone(), names.map(str::to_owned).collect())
    });
    compare(&expected.collect(), &actual);
}

#[test]
fn node_has_the_names_of_the_table() {
    let Some(mut actual) = surface("node", "node.mjs") else { return };
    actual.retain(|class, _| !ONLY_TYPES.contains(&class.as_str()));
    for names in actual.values_mut() {
        let all = names.clone();
        names.retain(|name| !name.strip_suffix(TWIN).is_some_and(|base| all.contains(base)));
    }
    let table = table();
    let expected = table.iter().map(|(class, row)| {
        let is_public = |option: &&OptionInfo| option.name != HIDDEN;
        let options = OPTIONS.iter().filter(|option| options_of(option.of) == class);
        let options = options.filter(is_public);
        let same = options.map(|option| option.name).chain(strings(&row["same"])).map(camel_case);
        let only = strings(&row["node"]).into_iter().map(str::to_owned);
        (class.clone(), same.chain(only).collect())
    });
    compare(&expected.collect(), &actual);
}

/// The type with these options.
fn options_of(of: OptionOf) -> &'static str {
    match of {
        OptionOf::Client => "ClientOptions",
        OptionOf::Producer => "ProducerOptions",
        OptionOf::Consumer => "ConsumerOptions",
    }
}

#[test]
fn a_name_that_only_one_language_has_is_reported() {
    let of = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Surface::from([("Client".to_owned(), names)])
    };
    compare(&of(&["close"]), &of(&["close"]));
    for (expected, actual, part) in [
        (of(&["close", "check"]), of(&["close"]), "Client.check does not exist"),
        (of(&["close"]), of(&["close", "check"]), "Client.check is not in the table"),
        (Surface::new(), of(&["close"]), "Client.close is not in the table"),
    ] {
        let report = std::panic::catch_unwind(|| compare(&expected, &actual));
        let report = report.expect_err("they differ");
        let report = report.downcast_ref::<String>().expect("a text");
        assert!(report.contains(part), "{report}");
    }
}
