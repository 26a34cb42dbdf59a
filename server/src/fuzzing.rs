//! Decoders of the server, as functions of arbitrary bytes. They are not part of its
//! interface, and are compiled only for its tests and with the feature `fuzzing`.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ─▶ TARGETS[NAME](bytes)    cargo xtask fuzz
//! fuzz/corpus/NAME/*        ─▶ TARGETS[NAME](bytes)    cargo test, in this file
//! ```
//!
//! Most decoders belong to the engine and the protocol: see `styx_engine::fuzzing`
//! for them and for the rules of a target.

/// Takes any bytes and panics if a property does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its binary and corpus.
pub const TARGETS: [(&str, Target); 3] = [
    ("jwt", crate::auth::fuzz_jwt),
    ("token_file", crate::auth::fuzz_token_file),
    ("websocket", crate::websocket::fuzz_decoder),
];

/// Runs the target of this name.
///
/// # Panics
/// If there is no such target, or if the target panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of that name").1(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the corpus is files")]

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
