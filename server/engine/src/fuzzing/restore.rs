//! Fuzz target for restore: restores a log from an arbitrary archive.
//!
//! ```text
//! mode: u8 | archive
//!  bit 0: the archive is a tar, to be compressed; with bit 0,
//!  bit 1: fix the checksums of tar headers; with bit 1,
//!  bit 2: fix the checksums in the files
//! ```
//!
//! Invariant: either the archive becomes an intact log whose own backup contains the same records,
//! or nothing is left behind.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use styx_protocol::{LogName, LogStatus};

use super::fixup::{self, ChainPosition, Fixups};
use super::memory::MemoryStorage;
use super::recovery::read_all;
use crate::storage::Storage as _;
use crate::{Catalog, Options};

const HEADER: usize = 512;

pub(super) fn restore(input: &[u8]) {
    let Some((mode, archive)) = input.split_first() else { return };
    let mut archive = archive.to_vec();
    if mode & 1 != 0 {
        if mode & 2 != 0 {
            fix_entries(&mut archive, mode & 4 != 0);
        }
        // A tar ends with two blocks of zeros.
        archive.resize(archive.len().next_multiple_of(HEADER) + 2 * HEADER, 0);
        archive = compressed(&archive);
    }
    let disk = MemoryStorage::default();
    let catalog = Catalog::open(Options {
        committers_max: 0,
        storage: Arc::new(disk.clone()),
        ..Options::new("/data")
    });
    let catalog = catalog.expect("an empty directory");
    let name = |name: &str| name.parse::<LogName>().expect("a name");
    match catalog.restore(&name("a"), &mut archive.as_slice()) {
        Err(_) => {
            let left = disk.list("/data".as_ref()).expect("the data directory");
            assert!(left.iter().all(|entry| !entry.is_dir), "a failed restore left {left:?}");
        }
        Ok(log) => {
            assert_eq!(log.status(), LogStatus::Ok);
            // A restore checks the CRC of a compressed body but does not decompress it, so a read
            // may fail.
            let held = read_all(&log).ok();
            let mut backup = Vec::new();
            log.backup(&mut backup).expect("an intact log can be backed up");
            let copy = catalog.restore(&name("b"), &mut backup.as_slice());
            let copy = copy.expect("a backup can be restored");
            assert_eq!(copy.end_position(), log.end_position());
            assert_eq!(read_all(&copy).ok(), held);
        }
    }
}

/// Compresses an archive with gzip.
pub(super) fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

/// Fixes the checksums of a tar's headers, and with `files` also those in the files.
fn fix_entries(archive: &mut [u8], files: bool) {
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + HEADER) {
        // The checksum of a tar header treats its own field as spaces.
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let name = String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned();
        let size = std::str::from_utf8(&header[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(size, 8).unwrap_or(0);
        at += HEADER;
        let Some(content) = archive.get_mut(at..at.saturating_add(size)) else { return };
        if files {
            fix_file(&name, content);
        }
        at += size.next_multiple_of(HEADER);
    }
}

/// Fixes the checksums in a file, according to its name.
fn fix_file(name: &str, content: &mut [u8]) {
    let len = content.len();
    if name.ends_with(".seg") {
        let base = name.rsplit('/').next().and_then(|name| name.get(..20)?.parse().ok());
        let link = ChainPosition::at(base.unwrap_or_default());
        let _ = fixup::blocks(content, Fixups::of(7), link);
    } else if name.ends_with(".producers") {
        fixup::crc(content, 4, 8, len);
    } else if name.ends_with("watermark") {
        fixup::crc(content, 32, 0, 32);
        fixup::crc(content, 4096 + 32, 4096, 4096 + 32);
    } else if name == "log.toml"
        && let Some(line) = content.iter().position(|byte| *byte == b'\n')
    {
        let checksum = format!("checksum = \"{:08x}\"", crc32fast::hash(&content[line + 1..]));
        if line == checksum.len() {
            content[..line].copy_from_slice(checksum.as_bytes());
        }
    }
}
