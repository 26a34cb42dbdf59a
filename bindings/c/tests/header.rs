//! `include/styx.h` is what cbindgen writes from the functions, and each of them follows the rules
//! of the interface: structs are passed with their size, and the tests in C call it with NULL, with
//! a closed object, from a second thread and in a forked child, where that is possible.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let config = cbindgen::Config::from_root_or_default(root());
    let bindings = cbindgen::Builder::new().with_crate(root()).with_config(config).generate();
    let mut text = Vec::new();
    bindings.expect("a header").write(&mut text);
    String::from_utf8(text).expect("text")
}

fn committed() -> String {
    std::fs::read_to_string(root().join("include/styx.h")).expect("a header")
}

/// A function of the header, and its parameters as they are written there.
struct Function {
    name: String,
    parameters: Vec<String>,
}

impl Function {
    /// Whether its first parameter has this type.
    fn begins_with(&self, kind: &str) -> bool {
        self.parameters.first().is_some_and(|first| first.starts_with(&format!("{kind} *")))
    }

    fn is_free(&self) -> bool {
        self.name.ends_with("_free")
    }
}

fn without_comments(header: &str) -> String {
    let parts = header.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code));
    parts.collect()
}

/// All functions of the header, but not the types of callbacks.
fn functions(header: &str) -> Vec<Function> {
    let code = without_comments(header);
    let statements = code.split(';').filter(|statement| !statement.contains("typedef"));
    let function = |statement: &str| {
        let (before, rest) = statement.split_once('(')?;
        let name = before.rsplit([' ', '*', '\n']).next()?.to_owned();
        let parameters = rest.rsplit_once(')')?.0.split(',');
        let parameters = parameters.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        name.starts_with("styx_").then(|| Function { name, parameters: parameters.collect() })
    };
    statements.filter_map(function).collect()
}

/// The structs of the header whose fields a program can see.
fn structs(header: &str) -> BTreeSet<String> {
    let code = without_comments(header);
    let definitions = code.split("typedef struct {").skip(1);
    let name = |text: &str| Some(text.split_once('}')?.1.split_once(';')?.0.trim().to_owned());
    definitions.filter_map(name).collect()
}

/// The body of a test in `tests/c`.
fn test_in_c(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(root().join("tests/c").join(file)).expect(file);
    let (_, body) = text.split_once(&format!("static void {name}(")).expect(name);
    body.split_once("\n}\n").expect("the end of the function").0.to_owned()
}

/// Each of these functions must be called there.
#[track_caller]
fn check_calls<'a>(body: &str, functions: impl Iterator<Item = &'a Function>) {
    let names: Vec<&str> = functions.map(|function| function.name.as_str()).collect();
    assert!(!names.is_empty());
    let is_called = |name: &str| body.contains(&format!("{name}("));
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_called(name)).collect();
    assert!(missing.is_empty(), "not called: {missing:?}");
}

#[test]
fn functions_and_structs_of_the_header_are_found() {
    let header = committed();
    let functions = functions(&header);
    assert!(functions.len() > 80, "{}", functions.len());
    let create = functions.iter().find(|function| function.name == "styx_create_log");
    let parameters = &create.expect("a function").parameters;
    assert_eq!(parameters[2..4], ["const styx_log_config *config", "size_t config_size"]);
    let structs = structs(&header);
    assert!(structs.contains("styx_record") && !structs.contains("styx_batch"), "{structs:?}");
}

/// A struct without a size could never get another field. These never change, or are allocated by
/// the library.
#[test]
fn structs_are_passed_with_their_size() {
    const WITHOUT: [&str; 3] = ["styx_bytes", "styx_checkpoint", "styx_event"];
    let header = committed();
    let structs = structs(&header);
    let is_sized = |rest: &[String], name: &str| {
        let sizes = ["size_t size".to_owned(), format!("size_t {name}_size")];
        let rest: Vec<&String> = rest.iter().filter(|p| *p != "size_t capacity").collect();
        rest.first().is_some_and(|next| sizes.contains(next))
    };
    let mut sized = BTreeSet::new();
    for function in functions(&header) {
        for (at, parameter) in function.parameters.iter().enumerate() {
            let Some((kind, name)) = parameter.split_once(" *") else { continue };
            let kind = kind.trim_start_matches("const ");
            if !structs.contains(kind) || WITHOUT.contains(&kind) {
                continue;
            }
            let rest = &function.parameters[at + 1..];
            assert!(is_sized(rest, name), "{}: {parameter} has no size", function.name);
            sized.insert(kind.to_owned());
        }
    }
    let without = WITHOUT.map(str::to_owned);
    assert_eq!(sized, &structs - &BTreeSet::from(without), "all other structs are passed");
}

#[test]
fn every_function_with_a_pointer_is_called_with_null() {
    let body = test_in_c("arguments.c", "null_handles_are_refused");
    let functions = functions(&committed());
    check_calls(&body, functions.iter().filter(|f| f.parameters.iter().any(|p| p.contains('*'))));
}

#[test]
fn every_function_of_a_closed_object_is_called() {
    let functions = functions(&committed());
    let all = |kind: &str| {
        let kinds = [kind.to_owned(), format!("const {kind}")];
        functions.iter().filter(move |f| kinds.iter().any(|kind| f.begins_with(kind)))
    };
    let consumer = test_in_c("consumer.c", "closed_consumer_refuses_calls");
    check_calls(&consumer, all("styx_consumer"));
    let producer = test_in_c("producer.c", "closed_producer_refuses_appends");
    check_calls(&producer, all("styx_producer"));
}

#[test]
fn every_function_for_one_thread_is_called_by_a_second_one() {
    let body = test_in_c("threads.c", "calls_of_a_second_thread_are_refused");
    let functions = functions(&committed());
    check_calls(&body, functions.iter().filter(|f| f.begins_with("styx_consumer")));
}

/// Every function with an object that needs the threads of the process.
#[test]
fn every_function_is_called_in_a_forked_child() {
    const KINDS: [&str; 5] =
        ["styx_client", "styx_producer", "styx_consumer", "styx_backup", "styx_restore"];
    let body = test_in_c("forks.c", "every_call_fails");
    let functions = functions(&committed());
    let needs_threads = |function: &&Function| {
        KINDS.iter().any(|kind| {
            function.begins_with(kind) || function.begins_with(&format!("const {kind}"))
        })
    };
    check_calls(&body, functions.iter().filter(needs_threads).filter(|f| !f.is_free()));
}

#[test]
fn committed_header_is_that_of_the_functions() {
    assert!(
        committed() == generated(),
        "run cargo test --package styx-c write_the_header -- --ignored, and commit styx.h"
    );
}

#[test]
fn every_kind_of_error_has_its_number() {
    let header = committed();
    let numbers: Vec<String> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define STYX_E_"))
        .map(str::to_lowercase)
        .collect();
    let expected: Vec<String> = styx_client::Kind::all()
        .map(|kind| format!("{} {}", kind.as_str(), kind.number()))
        .collect();
    assert_eq!(numbers, expected);
}

#[test]
#[ignore = "writes include/styx.h"]
fn write_the_header() {
    std::fs::write(root().join("include/styx.h"), generated()).expect("written");
}
