//! Parsers of the client, as functions of arbitrary bytes. They are not part of its interface,
//! and are compiled only for its tests and with the feature `fuzzing`.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ─▶ TARGETS[NAME](bytes)    cargo xtask fuzz
//! fuzz/corpus/NAME/*        ─▶ TARGETS[NAME](bytes)    cargo test, in this file
//! ```
//!
//! Bindings pass options as texts, so every text must be a valid option or a clear error. What a
//! server sends is decoded by `styx-protocol`: see `styx_engine::fuzzing` for that, and for the
//! rules of a target.

use std::fmt::Debug;
use std::sync::OnceLock;

use crate::options::{OPTIONS, OptionOf, OptionUnit};
use crate::{Client, Error, Kind, Start};

/// Takes any bytes and panics if a property does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its binary and corpus.
pub const TARGETS: [(&str, Target); 1] = [("options", options)];

/// Longer messages are not clear.
const MESSAGE_BYTES_MAX: usize = 1000;

/// Runs the target of this name.
///
/// # Panics
/// If there is no such target, or if the target panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of that name").1(bytes);
}

/// Lines of `key=value`, which are set in builders of all kinds. The key `address` is that of the
/// server.
fn options(input: &[u8]) {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(input) else { return };
    let core = CLIENT.get_or_init(|| Client::builder("localhost").build().expect("good options"));
    let mut client = Client::builder("localhost");
    let mut producer = core.producer("a");
    let mut consumer = core.consumer("a");
    let mut reads_a_file = false;
    for (key, value) in text.split('\n').filter_map(|line| line.split_once('=')) {
        if key == "address" {
            client = client.address(value);
            continue;
        }
        reads_a_file |= key == "ca_file";
        set(OptionOf::Client, &mut client, key, value, |b, k, v| b.set(k, v));
        set(OptionOf::Producer, &mut producer, key, value, |b, k, v| b.set(k, v));
        set(OptionOf::Consumer, &mut consumer, key, value, |b, k, v| b.set(k, v));
        if let Err(error) = value.parse::<Start>().and_then(Start::parameters) {
            check_refusal(&error);
        }
    }
    // The input must not choose the files that are read.
    if !reads_a_file {
        match client.check() {
            Ok(address) => {
                let shown = address.to_string();
                assert_eq!(shown.parse().ok(), Some(address), "{shown} is the same address");
            }
            Err(error) => check_refusal(&error),
        }
    }
}

/// Sets an option if it is valid. Exactly the builder that has the option may accept it.
fn set<B: Clone + Debug>(
    of: OptionOf,
    builder: &mut B,
    key: &str,
    value: &str,
    set: impl Fn(B, &str, &str) -> Result<B, Error>,
) {
    let known = OPTIONS.iter().find(|option| option.of == of && option.name == key);
    let changed = match set(builder.clone(), key, value) {
        Ok(changed) => changed,
        Err(error) => {
            check_refusal(&error);
            // The error of a start shows the value instead.
            let is_named = error.message().contains(key) || error.message().contains("start");
            assert!(known.is_none() || is_named, "{error}");
            return;
        }
    };
    let option = known.unwrap_or_else(|| panic!("a {of} accepted {key:?}"));
    let shown = |result: Result<B, Error>| result.map(|builder| format!("{builder:?}")).ok();
    let expected = Some(format!("{changed:?}"));
    assert_eq!(shown(set(changed.clone(), key, value)), expected, "setting {key} twice");
    if !matches!(option.unit, OptionUnit::Text | OptionUnit::File) {
        let trimmed = shown(set(builder.clone(), key, value.trim()));
        assert_eq!(trimmed, expected, "{key} without spaces");
    }
    *builder = changed;
}

/// A refusal is not a failure of a call, and says something that can be read.
fn check_refusal(error: &Error) {
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    assert!(!error.is_retriable() && !error.maybe_appended(), "{error}");
    let message = error.message();
    assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{message}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn every_input_of_the_corpus_passes() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for (name, target) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
            let corpus = fuzz.join("corpus").join(name);
            let files = std::fs::read_dir(&corpus);
            let files = files.unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
            let mut inputs = 0;
            for file in files {
                let path = file.expect("an entry").path();
                println!("{}", path.display());
                target(&std::fs::read(path).expect("it can be read"));
                inputs += 1;
            }
            assert!(inputs > 0, "{name} has no corpus");
            target(&[]);
        }
    }
}
