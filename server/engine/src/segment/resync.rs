//! Resynchronization: finds the place in a segment at which reading can continue after damage.
//!
//! ```text
//! block | damage … | block ─▶ block ─▶ … ─▶ seal, or the durable end
//!                    └ the first block from which an unbroken chain reaches the goal
//! ```
//!
//! A payload may contain bytes that look like a block. So a block after damage is accepted only
//! under two conditions:
//!
//! - The chain from it ends exactly at a known place. That is the seal that the index and the
//!   next segment name, the durable end, or the end of the file's blocks at or after the
//!   watermark's durable position.
//! - It has the segment's salt. The salt is random, so a payload contains it only if its author
//!   can read stored blocks.
//!
//! Invariant: the number of chains to try is bounded. In a log that is full of forged blocks, the
//! search ends without a result instead of taking very long.

use std::io;

use styx_protocol::Position;
use styx_protocol::block::{Header, MAGIC};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::name::Offset;
use super::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::storage::{File, read_exact_at, zeros_from};

/// Where a chain must end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ChainGoal {
    /// At the seal with this `header_crc`.
    Seal(u32),
    /// At exactly this position, at the last readable byte.
    End(Position),
    /// At this position or a later one. After the chain, the file has only zeros.
    EndOfBlocks(Position),
}

/// A chain that reaches its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) offset: Offset,
    pub(crate) position: Position,
    pub(crate) end_offset: Offset,
    pub(crate) end_position: Position,
}

/// A search tries the chains from at most this many headers.
const ATTEMPTS_MAX: usize = 10_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Returns the first chain that begins after `from` and reaches the goal within the first `len`
/// bytes. `None` if there is none, or if the search has tried too many headers.
///
/// # Errors
/// The file cannot be read, or is shorter than `len`.
pub(crate) fn find(
    file: &dyn File,
    len: u64,
    from: Offset,
    goal: ChainGoal,
) -> io::Result<Option<Chain>> {
    let salt = salt_of(file);
    let zeros = match goal {
        ChainGoal::EndOfBlocks(_) => zeros_from(file, len)?,
        ChainGoal::Seal(_) | ChainGoal::End(_) => len,
    };
    let mut attempts = 0;
    let mut at = from.saturating_add(1);
    let mut chunk = vec![0; CHUNK_BYTES];
    while at + BLOCK_HEADER_BYTES as u64 <= len {
        let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let bytes = &mut chunk[..want];
        match read_exact_at(file, bytes, at) {
            Ok(()) => {}
            // Skip an unreadable chunk, because the blocks after it may be intact.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                at += want as u64;
                continue;
            }
            Err(error) => return Err(error),
        }
        for i in 0..=want - BLOCK_HEADER_BYTES {
            if bytes[i..i + MAGIC.len()] != MAGIC {
                continue;
            }
            let Ok((header, _)) = Header::decode(&bytes[i..]) else { continue };
            if salt.is_some_and(|salt| salt != header.segment_salt) {
                continue;
            }
            attempts += 1;
            if attempts > ATTEMPTS_MAX {
                return Ok(None);
            }
            if let Some(chain) = follow(file, len, zeros, at + i as u64, &header, goal)? {
                return Ok(Some(chain));
            }
        }
        at += (want - BLOCK_HEADER_BYTES + 1) as u64;
    }
    Ok(None)
}

/// Reads the segment's salt from its first block. `None` if that block is damaged.
fn salt_of(file: &dyn File) -> Option<u64> {
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    read_exact_at(file, &mut bytes, 0).ok()?;
    Header::decode(&bytes).ok().map(|(header, _)| header.segment_salt)
}

/// Returns the chain from a header, if it reaches the goal. From the offset `zeros` on, the file
/// contains only zeros.
fn follow(
    file: &dyn File,
    len: u64,
    zeros: u64,
    offset: Offset,
    header: &Header,
    goal: ChainGoal,
) -> io::Result<Option<Chain>> {
    let position = Position(header.base_position);
    let chain_start = ChainStart { base: position, prev_crc: None };
    let mut walk = Walk::new(file, len, chain_start, Bodies::Skip);
    walk.begin_at(offset, position);
    let stop = loop {
        match walk.step()? {
            Ok(_) => {}
            Err(stop) => break stop,
        }
    };
    let reached = match goal {
        ChainGoal::Seal(crc) => stop == WalkEnd::Sealed && walk.prev_crc() == Some(crc),
        ChainGoal::End(end) => stop == WalkEnd::EndOfFile && walk.position() == end,
        ChainGoal::EndOfBlocks(durable) => walk.position() >= durable && walk.offset() >= zeros,
    };
    Ok(reached.then(|| Chain {
        offset,
        position,
        end_offset: walk.offset(),
        end_position: walk.position(),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use styx_protocol::block::Flags;

    use super::*;
    use crate::storage::{RealStorage, Storage, write_all_at};

    const SALT: u64 = 77;
    const HEADER: u64 = BLOCK_HEADER_BYTES as u64;

    fn block(base: u64, count: u32) -> Header {
        Header { base_position: base, count, segment_salt: SALT, ..Header::default() }
    }

    /// Creates a segment with a filler, a block whose header is damaged, and `after_damage`.
    fn segment(after_damage: &[&[u8]]) -> (tempfile::TempDir, Arc<dyn File>, u64) {
        let filler = Header { flags: Flags::FILLER, ..block(0, 0) };
        let damaged = [0xFF; BLOCK_HEADER_BYTES];
        let bytes = [&filler.encode().0, &damaged[..], &after_damage.concat()].concat();
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("segment")).expect("created");
        write_all_at(&*file, &bytes, 0).expect("written");
        (directory, file, bytes.len() as u64)
    }

    /// Returns the offset at which the chain begins, and the position at which it ends.
    fn check(after_damage: &[&[u8]], goal: ChainGoal) -> Option<(u64, Position)> {
        let (_directory, file, len) = segment(after_damage);
        let chain = find(&*file, len, HEADER, goal).expect("read");
        chain.map(|chain| (chain.offset, chain.end_position))
    }

    /// Bug: the payload of a damaged block contained a block of another segment, with another salt.
    /// That block was read as a part of the log.
    #[test]
    fn a_block_of_another_segment_in_a_payload_is_not_a_chain() {
        let foreign = Header { segment_salt: SALT + 1, ..block(0, 1) };
        for goal in [ChainGoal::End(Position(1)), ChainGoal::EndOfBlocks(Position(1))] {
            assert_eq!(check(&[&foreign.encode().0], goal), None);
            let own = check(&[&block(0, 1).encode().0], goal);
            assert_eq!(own, Some((2 * HEADER, Position(1))));
        }
    }

    /// Bug: the payload of a damaged block contained a block with the right salt, which ended
    /// beyond the durable end. That block was read as a part of the log, and the intact records
    /// after it were not found.
    #[test]
    fn a_forged_block_beyond_the_durable_end_is_not_a_chain() {
        let forged = block(1, 1000).encode().0;
        let rest_of_the_payload = [b'x'; 40];
        let whole = block(5, 2).encode().0;
        let after_damage = [&forged[..], &rest_of_the_payload, &whole];
        let found = Some((3 * HEADER + 40, Position(7)));
        assert_eq!(check(&after_damage, ChainGoal::End(Position(7))), found);
        assert_eq!(check(&after_damage, ChainGoal::EndOfBlocks(Position(7))), found);
        // The forged block is not accepted as the last block either.
        assert_eq!(check(&[&forged], ChainGoal::End(Position(7))), None);
        assert_eq!(
            check(&[&forged, &rest_of_the_payload], ChainGoal::EndOfBlocks(Position(7))),
            None
        );
    }

    #[test]
    fn only_zeros_may_follow_the_last_block() {
        let whole = block(5, 2).encode().0;
        let goal = ChainGoal::EndOfBlocks(Position(6));
        let found = Some((2 * HEADER, Position(7)));
        assert_eq!(check(&[&whole], goal), found, "the chain ends after the durable position");
        assert_eq!(check(&[&whole, &[0; 5000]], goal), found);
        assert_eq!(check(&[&whole, &[0; 5000], &[1]], goal), None);
        assert_eq!(check(&[&whole], ChainGoal::EndOfBlocks(Position(8))), None);
        assert_eq!(check(&[&whole, &[0; 5000]], ChainGoal::End(Position(7))), None);
        assert_eq!(check(&[&whole], ChainGoal::End(Position(6))), None);
    }
}
