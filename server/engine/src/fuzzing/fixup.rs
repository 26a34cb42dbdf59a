//! Makes the checksums of fuzz inputs valid, so that the code after the checks is reached.
//!
//! Invariant: only checksums, sizes and other fields that must match are changed; other bytes keep
//! the fuzzer's values.

use styx_protocol::limits::{BLOCK_HEADER_BYTES, RECORD_HEADER_BYTES};
use styx_protocol::{block, record};

/// Which fields of contiguous blocks are made valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixups {
    checksums: bool,
    chain: bool,
    records: bool,
}

impl Fixups {
    /// Bit 0 selects checksums, bit 1 the chain, bit 2 records.
    pub(super) fn of(bits: u8) -> Fixups {
        Fixups { checksums: bits & 1 != 0, chain: bits & 2 != 0, records: bits & 4 != 0 }
    }
}

/// Writes the CRC-32 of `bytes[from..to]` at `at`. Does nothing if `bytes` is too short.
pub(super) fn crc(bytes: &mut [u8], at: usize, from: usize, to: usize) {
    let Some(covered) = bytes.get(from..to) else { return };
    let crc = crc32fast::hash(covered).to_be_bytes();
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&crc);
    }
}

/// Fixes the magic, the version and the CRC of a block's header.
pub(super) fn header(bytes: &mut [u8]) {
    let Some(head) = bytes.get_mut(..BLOCK_HEADER_BYTES) else { return };
    head[..4].copy_from_slice(&block::MAGIC);
    head[8] = block::VERSION;
    crc(head, 4, 8, BLOCK_HEADER_BYTES);
}

/// Fixes the checksums of records until a size is invalid. Returns the number of records.
pub(super) fn records(bytes: &mut [u8]) -> u32 {
    let (mut at, mut count) = (0, 0);
    while let Ok((start, end)) = record::frame(bytes, at) {
        crc(bytes, at, start - RECORD_HEADER_BYTES + 4, end);
        count += 1;
        at = end;
    }
    count
}

/// Where a chain of blocks continues.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChainPosition {
    pub(super) position: u64,
    prev_crc: u32,
}

impl ChainPosition {
    /// The start of a chain at this position.
    pub(super) fn at(position: u64) -> ChainPosition {
        ChainPosition { position, ..ChainPosition::default() }
    }
}

/// Fixes contiguous blocks until less than a header is left; a block that is too long ends with
/// `bytes`. Returns where the chain continues after them.
pub(super) fn blocks(bytes: &mut [u8], mode: Fixups, link: ChainPosition) -> ChainPosition {
    let (mut at, mut salt) = (0, [0; 8]);
    let ChainPosition { mut position, mut prev_crc } = link;
    while mode.checksums && bytes.len().saturating_sub(at) >= BLOCK_HEADER_BYTES {
        let (head, behind) = bytes[at..].split_at_mut(BLOCK_HEADER_BYTES);
        let claimed = u32::from_be_bytes(std::array::from_fn(|i| head[16 + i])) as usize;
        let size = claimed.min(behind.len());
        let body = &mut behind[..size];
        head[16..20].copy_from_slice(&(size as u32).to_be_bytes());
        if mode.records {
            let count = records(body);
            head[12..16].copy_from_slice(&count.to_be_bytes());
            head[20..24].copy_from_slice(&(size as u32).to_be_bytes());
        }
        if mode.chain {
            if at == 0 {
                head[11] |= block::Flags::FILLER.bits() as u8;
                salt.copy_from_slice(&head[64..72]);
            }
            if head[11] & 6 != 0 {
                head[12..16].fill(0);
            }
            head[24..32].copy_from_slice(&position.to_be_bytes());
            head[64..72].copy_from_slice(&salt);
            head[76..80].copy_from_slice(&prev_crc.to_be_bytes());
        }
        head[60..64].copy_from_slice(&crc32fast::hash(body).to_be_bytes());
        header(head);
        prev_crc = u32::from_be_bytes(std::array::from_fn(|i| head[4 + i]));
        let count = u32::from_be_bytes(std::array::from_fn(|i| head[12 + i]));
        position = position.saturating_add(count.into());
        at += BLOCK_HEADER_BYTES + size;
    }
    ChainPosition { position, prev_crc }
}
