//! Beyond damage: where in a segment reading can go on.
//!
//! ```text
//! block | damage … | block ─▶ block ─▶ … ─▶ seal, or the durable end
//!                    └ the first from which an unbroken chain gets there
//! ```
//!
//! A payload may hold anything that looks like a block, so a block behind damage
//! counts only if the chain from it ends exactly at what is known from outside: the
//! seal that the index and the next segment name, the durable end, or the end of
//! the file's blocks, at or beyond what the watermark says is durable; and only if
//! it has the segment's salt, which is random and which no payload holds unless
//! somebody put it there who reads stored blocks. The work is bounded: who fills a
//! log with half-made blocks gets no answer rather than a long one.

use std::io;

use styx_protocol::Position;
use styx_protocol::block::{Header, MAGIC};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::name::Offset;
use super::walk::{Bodies, Expect, Stop, Walk};
use crate::storage::{File, read_exact_at, zeros_from};

/// Where a chain has to lead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// To the seal with this `header_crc`.
    Seal(u32),
    /// To exactly this position, with the last byte that may be read.
    End(Position),
    /// To this position or beyond it, where the blocks of a file end of which no
    /// more is known: with its last byte, or with nothing but zeros behind.
    EndOfBlocks(Position),
}

/// A chain that leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) offset: Offset,
    pub(crate) position: Position,
    pub(crate) end_offset: Offset,
    pub(crate) end_position: Position,
}

/// Headers that are walked from at most.
const ATTEMPTS_MAX: usize = 10_000;
const CHUNK_BYTES: usize = 1 << 20;

/// The first chain that begins after `from` and reaches the goal within the
/// first `len` bytes.
pub(crate) fn find(
    file: &dyn File,
    len: u64,
    from: Offset,
    goal: Goal,
) -> io::Result<Option<Chain>> {
    let salt = salt_of(file);
    let zeros = match goal {
        Goal::EndOfBlocks(_) => zeros_from(file, len)?,
        Goal::Seal(_) | Goal::End(_) => len,
    };
    let mut attempts = 0;
    let mut at = from.saturating_add(1);
    let mut chunk = vec![0; CHUNK_BYTES];
    while at + BLOCK_HEADER_BYTES as u64 <= len {
        let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let bytes = &mut chunk[..want];
        match read_exact_at(file, bytes, at) {
            Ok(()) => {}
            // An unreadable stretch: what lies behind it may be whole.
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

/// The segment's salt, as its first block says it; `None` when that is damaged.
fn salt_of(file: &dyn File) -> Option<u64> {
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    read_exact_at(file, &mut bytes, 0).ok()?;
    Header::decode(&bytes).ok().map(|(header, _)| header.segment_salt)
}

/// The chain from a header, if it leads to the goal; from `zeros` on there is
/// nothing else.
fn follow(
    file: &dyn File,
    len: u64,
    zeros: u64,
    offset: Offset,
    header: &Header,
    goal: Goal,
) -> io::Result<Option<Chain>> {
    let position = Position(header.base_position);
    let expect = Expect { base: position, prev_crc: None };
    let mut walk = Walk::new(file, len, expect, Bodies::Skip);
    walk.begin_at(offset, position);
    let stop = loop {
        match walk.step()? {
            Ok(_) => {}
            Err(stop) => break stop,
        }
    };
    let reached = match goal {
        Goal::Seal(crc) => stop == Stop::Sealed && walk.prev_crc() == Some(crc),
        Goal::End(end) => stop == Stop::EndOfFile && walk.position() == end,
        Goal::EndOfBlocks(durable) => walk.position() >= durable && walk.offset() >= zeros,
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

    /// A segment of a filler, a block whose header is damaged, and what follows that.
    fn segment(behind: &[&[u8]]) -> (tempfile::TempDir, Arc<dyn File>, u64) {
        let filler = Header { flags: Flags::FILLER, ..block(0, 0) };
        let damaged = [0xFF; BLOCK_HEADER_BYTES];
        let bytes = [&filler.encode().0, &damaged[..], &behind.concat()].concat();
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("segment")).expect("created");
        write_all_at(&*file, &bytes, 0).expect("written");
        (directory, file, bytes.len() as u64)
    }

    /// Where the chain begins and which position it leads to.
    fn check(behind: &[&[u8]], goal: Goal) -> Option<(u64, Position)> {
        let (_directory, file, len) = segment(behind);
        let chain = find(&*file, len, HEADER, goal).expect("read");
        chain.map(|chain| (chain.offset, chain.end_position))
    }

    /// Where a block was damaged whose payload held a block, that was read as the
    /// log's own, though it said that it was of another segment.
    #[test]
    fn a_block_of_another_segment_in_a_payload_is_no_chain() {
        let others = Header { segment_salt: SALT + 1, ..block(0, 1) };
        for goal in [Goal::End(Position(1)), Goal::EndOfBlocks(Position(1))] {
            assert_eq!(check(&[&others.encode().0], goal), None);
            let own = check(&[&block(0, 1).encode().0], goal);
            assert_eq!(own, Some((2 * HEADER, Position(1))));
        }
    }

    /// Who had written a record with a block in its payload, of the right salt and
    /// with a count that led beyond the durable end, had that block read as the
    /// log's own once the header in front of the record was damaged; and the records
    /// behind it, which were whole, were not found any more.
    #[test]
    fn a_block_in_a_payload_that_claims_more_than_there_is_is_no_chain() {
        let forged = block(1, 1000).encode().0;
        let rest_of_the_payload = [b'x'; 40];
        let whole = block(5, 2).encode().0;
        let behind = [&forged[..], &rest_of_the_payload, &whole];
        let found = Some((3 * HEADER + 40, Position(7)));
        assert_eq!(check(&behind, Goal::End(Position(7))), found);
        assert_eq!(check(&behind, Goal::EndOfBlocks(Position(7))), found);
        // Nor does it help to come last.
        assert_eq!(check(&[&forged], Goal::End(Position(7))), None);
        assert_eq!(check(&[&forged, &rest_of_the_payload], Goal::EndOfBlocks(Position(7))), None);
    }

    #[test]
    fn the_blocks_of_a_file_may_end_with_zeros_and_with_nothing_else() {
        let whole = block(5, 2).encode().0;
        let goal = Goal::EndOfBlocks(Position(6));
        let found = Some((2 * HEADER, Position(7)));
        assert_eq!(check(&[&whole], goal), found, "beyond what was known to be durable");
        assert_eq!(check(&[&whole, &[0; 5000]], goal), found);
        assert_eq!(check(&[&whole, &[0; 5000], &[1]], goal), None);
        assert_eq!(check(&[&whole], Goal::EndOfBlocks(Position(8))), None);
        assert_eq!(check(&[&whole, &[0; 5000]], Goal::End(Position(7))), None);
        assert_eq!(check(&[&whole], Goal::End(Position(6))), None);
    }
}
