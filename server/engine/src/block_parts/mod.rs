//! [`BlockParts`]: tables of the parts of large blocks, for reads of one record.
//!
//! ```text
//! first read of a block      whole block ─▶ check ─▶ record, and a table of its parts
//! later reads of a record    table ─▶ one part of the file ─▶ compare its checksum ─▶ record
//! ```
//!
//! All logs share the tables and one budget for their memory. If the budget is used, a table that
//! was not needed lately is evicted. Nothing is allocated before the first read.
//!
//! Invariant: a table is a cache of one segment, and is never trusted without the checksum. If the
//! bytes of a part do not match, the caller reads the whole block, which finds the damage. The
//! number of a segment is never used again, so no table outlives the file for which it was made.

mod table;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use styx_protocol::Position;

use crate::sync::lock;

pub(crate) use self::table::{Part, PartTable};

/// A segment's number, and the position of a block's first record.
type Key = (u64, Position);

/// The memory of a table besides its own: its places in the map and in the queue, and the counts
/// of its `Arc`.
const ENTRY_BYTES: usize = 112;

/// See the module.
#[derive(Debug)]
pub(crate) struct BlockParts {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<Key, Slot>,
    /// The keys of all tables. The first one is the next to be evicted, unless it is in use.
    queue: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    table: Arc<PartTable>,
    /// It was used since it was last considered for eviction.
    is_used: bool,
}

impl BlockParts {
    /// At most `bytes_max` bytes of tables are in memory; with 0 none is kept.
    pub(crate) fn new(bytes_max: usize) -> BlockParts {
        BlockParts { state: Mutex::default(), bytes_max }
    }

    /// The table of the block that holds a position, if there is one.
    pub(crate) fn find(&self, segment: u64, position: Position) -> Option<Arc<PartTable>> {
        let mut state = lock(&self.state);
        let keys = (segment, Position::ORIGIN)..=(segment, position);
        let (_, slot) = state.tables.range_mut(keys).next_back()?;
        if slot.table.end() <= position {
            return None;
        }
        slot.is_used = true;
        Some(Arc::clone(&slot.table))
    }

    /// Keeps the table of a block, and replaces an older one of the same block. Returns `false` if
    /// it is larger than the budget.
    pub(crate) fn insert(&self, segment: u64, table: PartTable) -> bool {
        let bytes = cost(&table);
        if bytes > self.bytes_max {
            return false;
        }
        let key = (segment, table.base());
        let slot = Slot { table: Arc::new(table), is_used: false };
        let mut state = lock(&self.state);
        state.bytes += bytes;
        let mut freed = Vec::new();
        match state.tables.insert(key, slot) {
            Some(replaced) => {
                state.bytes -= cost(&replaced.table);
                freed.push(replaced);
            }
            None => state.queue.push_back(key),
        }
        while state.bytes > self.bytes_max {
            let Some(evicted) = state.evict() else { break };
            freed.push(evicted);
        }
        drop(state);
        drop(freed);
        true
    }
}

impl State {
    /// Removes the first table in the queue that was not used since its last turn.
    fn evict(&mut self) -> Option<Slot> {
        loop {
            let key = self.queue.pop_front()?;
            let Some(slot) = self.tables.get_mut(&key) else { continue };
            if std::mem::take(&mut slot.is_used) {
                self.queue.push_back(key);
                continue;
            }
            let evicted = self.tables.remove(&key)?;
            self.bytes -= cost(&evicted.table);
            return Some(evicted);
        }
    }
}

/// The memory of a table.
fn cost(table: &PartTable) -> usize {
    table.bytes() + ENTRY_BYTES
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
