//! Beyond damage: where in a segment reading can go on.
//!
//! ```text
//! block | damage … | block ─▶ block ─▶ … ─▶ seal, or the durable end
//!                    └ the first from which an unbroken chain gets there
//! ```
//!
//! A payload may hold anything that looks like a block, so a block behind damage
//! counts only if the chain from it reaches what is known from outside: the seal
//! that the index and the next segment name, or the end that the watermark says
//! is durable; and only if it has the segment's salt, which is random and which no
//! payload holds unless somebody put it there who reads stored blocks. The work is
//! bounded: who fills a log with half-made blocks gets no
//! answer rather than a long one.

use std::io;

use styx_protocol::Position;
use styx_protocol::block::{Header, MAGIC};
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::name::Offset;
use super::walk::{Bodies, Expect, Stop, Walk};
use crate::storage::{File, read_exact_at};

/// Where a chain has to lead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// To the seal with this `header_crc`.
    Seal(u32),
    /// To this position or beyond it.
    Durable(Position),
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
            if let Some(chain) = follow(file, len, at + i as u64, &header, goal)? {
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

/// The chain from a header, if it leads to the goal.
fn follow(
    file: &dyn File,
    len: u64,
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
        Goal::Durable(durable) => walk.position() >= durable,
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

    /// A segment whose one block is damaged, and holds in its payload a block of
    /// this salt that ends where the log does.
    fn segment(salt: u64) -> (tempfile::TempDir, Arc<dyn File>, u64) {
        let filler = Header { flags: Flags::FILLER, segment_salt: SALT, ..Header::default() };
        let forged = Header { count: 1, segment_salt: salt, ..Header::default() };
        let damaged = [0xFF; BLOCK_HEADER_BYTES];
        let bytes = [filler.encode().0, damaged, forged.encode().0].concat();
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("segment")).expect("created");
        write_all_at(&*file, &bytes, 0).expect("written");
        (directory, file, bytes.len() as u64)
    }

    /// Where a block was damaged whose payload held a block, that was read as the
    /// log's own, though it said that it was of another segment.
    #[test]
    fn a_block_of_another_segment_in_a_payload_is_no_chain() {
        let goal = Goal::Durable(Position(1));
        let from = BLOCK_HEADER_BYTES as u64;
        let (_directory, file, len) = segment(SALT + 1);
        assert_eq!(find(&*file, len, from, goal).expect("read"), None);
        let (_directory, file, len) = segment(SALT);
        let chain = find(&*file, len, from, goal).expect("read").expect("its own salt");
        assert_eq!((chain.offset, chain.end_position), (2 * from, Position(1)));
    }
}
