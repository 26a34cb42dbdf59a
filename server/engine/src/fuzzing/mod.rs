//! Fuzz targets: one function for each decoder, which takes arbitrary bytes. They are not part of
//! the engine's interface, and are compiled only for tests and with the feature `fuzzing`.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ─▶ TARGETS[NAME](bytes)    cargo xtask fuzz
//! fuzz/corpus/NAME/*        ─▶ TARGETS[NAME](bytes)    cargo test, below
//! ```
//!
//! A target panics if a decoder panics or if the result breaks a guarantee of the decoder.
//! Random bytes almost never have valid checksums. So bits of the input's first byte select which
//! checksums are fixed first (see `fixup.rs`). Invariant: every target has a binary and a corpus.

mod files;
mod fixup;
mod legacy;
mod memory;
mod recovery;
mod restore;
mod streams;
mod wire;

/// A fuzz target. It accepts any bytes, and panics if a guarantee is broken.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its binary and of its corpus.
pub const TARGETS: [(&str, Target); 21] = [
    ("record", wire::record),
    ("block_header", wire::block_header),
    ("block", wire::block),
    ("binary_records", wire::binary_records),
    ("lines", wire::lines),
    ("media_type", wire::media_type),
    ("parameters", wire::parameters),
    ("names", wire::names),
    ("frame", streams::frame),
    ("styx0", streams::styx0),
    ("packed_block", streams::packed_block),
    ("handshake", streams::handshake),
    ("index", files::index),
    ("producers", files::producers),
    ("cursors", files::cursors),
    ("archive_list", files::archive_list),
    ("manifest", files::manifest),
    ("watermark", files::watermark),
    ("recovery", recovery::recovery),
    ("restore", restore::restore),
    ("legacy", legacy::legacy),
];

/// Runs the target with this name.
///
/// # Panics
/// If no target has this name, or if the target panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target with this name").1(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the corpus consists of files")]

    use std::path::Path;

    use super::TARGETS;

    /// Runs the whole corpus as a regression test, without a fuzzer.
    #[test]
    fn the_whole_corpus_passes() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        for (name, target) in TARGETS {
            let corpus = fuzz.join("corpus").join(name);
            let files = std::fs::read_dir(&corpus);
            let files = files.unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
            let mut inputs = 0;
            for file in files {
                let path = file.expect("an entry").path();
                println!("{}", path.display());
                target(&std::fs::read(path).expect("a readable file"));
                inputs += 1;
            }
            assert!(inputs > 0, "{name} has no corpus");
            target(&[]);
        }
    }

    #[test]
    fn every_target_has_a_binary() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        for (name, _) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
        }
    }
}
