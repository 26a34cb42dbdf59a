//! `include/styx.h` is what cbindgen writes from the functions.

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

#[test]
fn committed_header_is_that_of_the_functions() {
    let committed = std::fs::read_to_string(root().join("include/styx.h")).expect("a header");
    assert!(
        committed == generated(),
        "run cargo test --package styx-c write_the_header -- --ignored, and commit styx.h"
    );
}

#[test]
fn every_kind_of_error_has_its_number() {
    let header = std::fs::read_to_string(root().join("include/styx.h")).expect("a header");
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
