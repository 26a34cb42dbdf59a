//! Decoders of the server, as functions of arbitrary bytes: not part of its
//! interface, and compiled only for its own tests and with the feature `fuzzing`.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ─▶ TARGETS[NAME](bytes)    cargo xtask fuzz
//! fuzz/corpus/NAME/*        ─▶ TARGETS[NAME](bytes)    cargo test, below
//! ```
//!
//! Most decoders are the engine's and the protocol's: `styx_engine::fuzzing` has
//! them, and the rules of a target.

/// Takes any bytes and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its binary and of its corpus.
pub const TARGETS: [(&str, Target); 1] = [("websocket", crate::websocket::fuzz_decoder)];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or as the target does.
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
    fn nothing_in_the_corpus_breaks_a_promise() {
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
