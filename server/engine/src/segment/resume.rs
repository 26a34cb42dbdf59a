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
//! is durable. The work is bounded: who fills a log with half-made blocks gets no
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
            if bytes[i..i + MAGIC.len()] != MAGIC || Header::decode(&bytes[i..]).is_err() {
                continue;
            }
            attempts += 1;
            if attempts > ATTEMPTS_MAX {
                return Ok(None);
            }
            if let Some(chain) = follow(file, len, at + i as u64, &bytes[i..], goal)? {
                return Ok(Some(chain));
            }
        }
        at += (want - BLOCK_HEADER_BYTES + 1) as u64;
    }
    Ok(None)
}

/// The chain from a header, if it leads to the goal.
fn follow(
    file: &dyn File,
    len: u64,
    offset: Offset,
    bytes: &[u8],
    goal: Goal,
) -> io::Result<Option<Chain>> {
    let Ok((header, _)) = Header::decode(bytes) else { return Ok(None) };
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
