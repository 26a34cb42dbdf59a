//! The Styx commit log, usable without a server.
//!
//! A [`Catalog`] owns a data directory and the [`Log`]s in it. An append is acknowledged only
//! after it is on stable storage. Readers see only durable records. The engine uses threads; it
//! has no async runtime and no network. Every operation that waits is a plain
//! [`std::future::Future`] that also has a blocking `wait()`.
//!
//! ```
//! use styx_engine::{Catalog, Found, Options};
//! use styx_protocol::{LogConfig, Position, Records};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let catalog = Catalog::open(Options::new(directory.path()))?;
//! let log = catalog.create(&"orders".parse()?, LogConfig::default())?;
//!
//! // Durable once this returns.
//! let appended = log.append_durably(Records::one(b"one order"))?;
//! assert_eq!(appended.end, Position(1));
//!
//! // Follow: read the existing records, then wait for more.
//! let mut reader = log.reader(Position::ORIGIN)?;
//! let Found::Some(batch) = reader.read(1 << 20)? else { panic!("one record exists") };
//! assert_eq!(batch.records().next().unwrap().payload, "one order");
//! let more = reader.wait();
//! log.append_durably(Records::one(b"another"))?;
//! more.wait();
//! assert!(matches!(reader.read(1 << 20)?, Found::Some(_)));
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod clock;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod legacy;
#[cfg(feature = "loom")]
#[doc(hidden)]
pub mod models;
pub mod repair;
pub mod storage;
pub mod verify;

mod append;
mod backup;
mod block_parts;
mod catalog;
mod commit;
mod cursors;
mod data_directory;
mod disk_reserve;
mod error;
mod fields;
mod format;
mod histogram;
mod log;
mod log_directory;
mod manifest;
mod measurements;
mod producers;
mod random;
mod read_ahead;
mod reader;
mod recovery;
mod restore;
mod retention;
mod rewrite;
mod sabotage;
mod scrub;
mod seek;
mod segment;
mod sync;
mod tail;
mod wait;
mod watermark;

pub use append::{Append, AppendError, Appended, Payload, Producer, ProducerState, Ticket};
pub use catalog::{Attached, AttachedIndex, Catalog, Options};
pub use cursors::{Cursor, CursorCondition, CursorLag};
pub use disk_reserve::DiskReserveStats;
pub use error::{Error, Removal};
pub use format::NewerFormat;
pub use histogram::{Histogram, HistogramSnapshot};
pub use log::{
    Activity, AppendStream, Closed, Extended, Log, LogStats, QueueSpace, Seek, SegmentInfo,
};
pub use measurements::Measurements;
pub use reader::{Batch, Blocks, Fetch, Found, Reader, Record, Span, Wait};
pub use scrub::ScrubStats;
pub use segment::Place;
