//! Decoders of the archive, as functions of arbitrary bytes. They are not part of its interface, and
//! are compiled only for its tests and with the feature `fuzzing`.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ─▶ TARGETS[NAME](bytes)    cargo xtask fuzz
//! fuzz/corpus/NAME/*        ─▶ TARGETS[NAME](bytes)    cargo test, in this file
//! ```
//!
//! The checksum of the whole object is corrected first, so that the fields behind it are reached.
//! See `styx_engine::fuzzing` for the rules of a target.

use crate::manifest::{Manifest, page};

/// Takes any bytes and panics if a property does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its binary and corpus.
pub const TARGETS: [(&str, Target); 2] =
    [("archive_manifest", manifest), ("archive_page", entries)];

/// Runs the target of this name.
///
/// # Panics
/// If there is no such target, or if the target panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of that name").1(bytes);
}

/// A manifest that is decoded has exactly these bytes.
fn manifest(bytes: &[u8]) {
    let bytes = with_checksum(bytes);
    if let Ok(manifest) = Manifest::decode(&bytes) {
        assert_eq!(&manifest.encode()[..], &bytes[..]);
    }
}

/// A page that is decoded has exactly these bytes.
fn entries(bytes: &[u8]) {
    let bytes = with_checksum(bytes);
    if let Ok(entries) = page::decode(&bytes) {
        assert_eq!(&page::encode(&entries)[..], &bytes[..]);
    }
}

fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((head, body)) = bytes.split_at_mut_checked(8)
        && let Some(crc) = head.get_mut(4..)
    {
        crc.copy_from_slice(&crc32fast::hash(body).to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn every_input_of_the_corpus_passes() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
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
