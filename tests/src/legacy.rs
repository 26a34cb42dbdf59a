//! Data of Styx 0.x: recorded in `golden/`, and made by hand.
//!
//! The CRC-32C here is an independent implementation, not the library that the server
//! uses. Both must give the same results.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::binary;

/// One file in an archive or a directory.
pub type File = (String, Vec<u8>);

/// A recorded file.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn golden(name: &str) -> Vec<u8> {
    let path = binary::workspace().join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The recorded archive's files, in their order.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn golden_files() -> Vec<File> {
    let archive = golden("archive-v0.tar.gz");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let entries = tar.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        (entry.path().expect("a path").display().to_string(), bytes)
    });
    entries.collect()
}

/// Unpacks the recorded data directory, which has one log `v0`. Returns its path.
///
/// # Panics
/// When it cannot be unpacked.
#[must_use]
pub fn golden_directory(into: &Path) -> PathBuf {
    let old = into.join("old");
    let archive = golden("data-v0.tar.gz");
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    tar.unpack(&old).unwrap_or_else(|e| panic!("{}: {e}", old.display()));
    old
}

/// A configuration file with these fields, in this order.
#[must_use]
pub fn config(fields: [i64; 8]) -> Vec<u8> {
    checked(fields.into_iter().flat_map(i64::to_be_bytes).collect())
}

/// A records file.
///
/// # Panics
/// When one is longer than 4 GiB.
#[must_use]
pub fn records<P: AsRef<[u8]>>(payloads: &[P]) -> Vec<u8> {
    let record = |payload: &P| {
        let payload = payload.as_ref();
        let size = u32::try_from(payload.len()).expect("a short record");
        checked([&size.to_be_bytes(), payload].concat())
    };
    payloads.iter().flat_map(record).collect()
}

/// The name of a segment's file; `kind` is `records` or `index`.
#[must_use]
pub fn segment(position: u64, offset: u64, time_s: u64, kind: &str) -> String {
    format!("segment-{position:020}-{offset:020}-{time_s:020}-{kind}")
}

/// A small complete log: three segments of two records each from position 4 on, of the
/// same size.
#[must_use]
pub fn small(time_s: u64, log_max_age: i64) -> Vec<File> {
    let fields = [64, 1 << 20, 2, 1 << 30, -1, -1, -1, log_max_age];
    let mut files = vec![("config".to_owned(), config(fields))];
    for kind in ["records", "index"] {
        for number in 0..3 {
            let bytes = match kind {
                "records" => records(&[format!("first{number}"), format!("other{number}")]),
                _ => Vec::new(),
            };
            files.push((segment(4 + 2 * number, 100 + 28 * number, time_s, kind), bytes));
        }
    }
    files
}

/// An archive of these files.
///
/// # Panics
/// Never: memory can be written.
#[must_use]
pub fn pack(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).expect("memory can be written");
    }
    gzip(&tar.into_inner().expect("memory can be written"))
}

/// Compresses.
///
/// # Panics
/// Never: memory can be written.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// Returns the bytes followed by their CRC-32C.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    bytes.extend_from_slice(&(!crc).to_be_bytes());
    bytes
}
