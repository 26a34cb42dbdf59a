//! The archive: history in an object store, as the engine sees it.
//!
//! ```text
//! sealed ─▶ uploaded by the archiver ─▶ record_archived: entry in the list, synced ─▶ evict
//!   local                                  both                                        remote
//! ```
//!
//! The archiver is another crate: the engine knows no network. It reaches the store through
//! [`Depot`]. An [`Entry`] describes an archived segment, and a list has the entries of a
//! log's segments, so that recovery knows which files may be missing. Invariant: the file of a
//! segment is removed only after its entry is durable in the list.

pub(crate) mod depot;
pub(crate) mod entry;
mod lineage;
pub(crate) mod list;
mod local_limits;
mod parts;
pub(crate) mod remote_file;

pub(crate) mod sealed_segment;
mod store_access;

pub use depot::{Depot, FetchResult, Kept, StoreError};
pub use entry::{ENTRY_BYTES, Entry};
pub use lineage::{Ancestor, Lineage};
pub use local_limits::{Evicted, LocalLimits};
pub use parts::{is_index_of, is_producers_of};

pub use crate::fields::{Encoder, Fields};

pub use sealed_segment::SealedSegment;
pub(crate) use store_access::StoreAccess;
