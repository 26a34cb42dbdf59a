//! Builds the files of a 0.x log byte by byte, independently of the code that reads them.

use std::io::Write;

use super::super::config;

/// Builds a configuration file.
pub(in crate::legacy) fn config(fields: [i64; 8]) -> [u8; config::BYTES] {
    let mut bytes = [0; config::BYTES];
    for (index, field) in fields.into_iter().enumerate() {
        bytes[index * 8..][..8].copy_from_slice(&field.to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[..64]);
    bytes[64..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Builds a records file with these payloads.
pub(in crate::legacy) fn records<P: AsRef<[u8]>>(payloads: &[P]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        let payload = payload.as_ref();
        let at = bytes.len();
        bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(payload);
        let crc = crc32c::crc32c(&bytes[at..]);
        bytes.extend_from_slice(&crc.to_be_bytes());
    }
    bytes
}

/// Builds an index file with these positions and offsets.
pub(in crate::legacy) fn index(entries: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (position, offset) in entries {
        let at = bytes.len();
        bytes.extend_from_slice(&position.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[at..]);
        bytes.extend_from_slice(&crc.to_be_bytes());
    }
    bytes
}

/// Builds the file name `segment-…-KIND`.
pub(in crate::legacy) fn segment(position: u64, offset: u64, time_s: u64, kind: &str) -> String {
    format!("segment-{position:020}-{offset:020}-{time_s:020}-{kind}")
}

/// Builds a tar of these files.
pub(in crate::legacy) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).expect("memory");
    }
    tar.into_inner().expect("memory")
}

pub(in crate::legacy) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}
