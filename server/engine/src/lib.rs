//! The Styx commit log, usable without any server.
//!
//! A [`Catalog`] owns a data directory and the [`Log`]s in it. An append is
//! acknowledged when it is on stable storage, never before; readers see only
//! what is durable. Threads, no async runtime, no network: what has to be
//! waited for is a plain [`std::future::Future`] that also has a blocking
//! `wait()`.

mod append;
mod catalog;
mod error;
mod log;
mod reader;

pub use append::{Append, Appended, Full, Producer, Room, Ticket};
pub use catalog::{Catalog, Options};
pub use error::Error;
pub use log::{Log, LogStats, Seek};
pub use reader::{Batch, Found, Reader, Record, Wait};
