//! A panic becomes an error or a default, and every function of the library catches it.

#![allow(non_camel_case_types, reason = "the names in C")]
#![allow(unreachable_pub, reason = "modules of the library, which exports them to C")]

use std::ffi::CStr;
use std::path::Path;

#[path = "../src/error.rs"]
#[expect(dead_code, reason = "only a part of the library")]
mod error;
#[path = "../src/pointer.rs"]
#[expect(dead_code, reason = "only a part of the library")]
mod pointer;

use error::{
    fallible, infallible, styx_error_code, styx_error_free, styx_error_message,
    styx_error_retriable,
};

/// Functions that cannot panic. They read a field or check every index; `styx_consumer_wakeup`
/// runs in signal handlers, and only writes to an atomic and a descriptor.
const WITHOUT: [&str; 7] = [
    "styx_abi_version",
    "styx_batch_first_position",
    "styx_batch_get",
    "styx_batch_len",
    "styx_batch_next_position",
    "styx_consumer_wakeup",
    "styx_version",
];

#[track_caller]
fn check(text: &str, panicking: fn()) {
    let error = fallible(|| {
        panicking();
        Ok(())
    });
    // SAFETY: the error is from `fallible`, and freed once.
    unsafe {
        assert_eq!(styx_error_code(error), u32::from(styx_client::Kind::Panicked.number()));
        assert!(!styx_error_retriable(error));
        let message = CStr::from_ptr(styx_error_message(error)).to_str().expect("UTF-8");
        assert!(!message.is_empty() && message.contains(text), "{message}");
        styx_error_free(error);
    }
}

#[test]
fn panic_becomes_an_error() {
    check("a bug", || panic!("a bug"));
    check("a bug of 7", || panic!("a bug of {}", 7));
    check("", || std::panic::panic_any(7));
}

#[test]
fn panic_becomes_the_default_where_there_is_no_error() {
    assert_eq!(infallible(7, || panic!("a bug")), 7);
    assert_eq!(infallible(7, || 8), 8);
}

#[test]
fn every_function_catches_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut without = Vec::new();
    let mut functions = 0;
    for file in std::fs::read_dir(folder).expect("the sources") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a source");
        for function in text.split("#[unsafe(no_mangle)]\n").skip(1) {
            let (signature, rest) = function.split_once('{').expect("a body");
            let name = signature.split_once("fn ").and_then(|(_, name)| name.split_once('('));
            let name = name.expect("a name").0;
            let body = rest.split_once("\n}\n").expect("the end of the body").0;
            // `informed` of logs.rs calls `fallible`.
            let catches = ["fallible(", "infallible(", "informed("];
            if !catches.iter().any(|call| body.contains(call)) {
                without.push(name.to_owned());
            }
            functions += 1;
        }
    }
    without.sort();
    assert!(functions > 80, "{functions}");
    assert_eq!(without, WITHOUT);
}
