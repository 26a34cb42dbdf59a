//! A client for the Styx event streaming database.
//!
//! ```no_run
//! # async fn example() -> Result<(), styx_client::Error> {
//! use styx_client::{Client, LogConfig};
//!
//! let client = Client::connect("styx://localhost:7123").await?;
//! client.create_log("orders", LogConfig::default(), true).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The futures of this crate run on any executor, because sockets and timers belong to
//! the client's own threads. Dropping a future stops waiting; each method says what
//! else that means for it.
//!
//! | module | content |
//! |---|---|
//! | [`client`] | [`Client`] and its [`Builder`](client::Builder) |
//! | [`logs`] | log management: create, list, delete, back up, … |
//! | [`producer`] | [`Producer`]: appends records, each exactly once |
//! | [`consumer`] | [`Consumer`]: reads a log and reconnects by itself |
//! | [`over_http`] | reading and appending where a proxy does not pass on HTTP upgrades |
//! | [`batch`] | [`RecordBatch`]: records in shared memory |
//! | [`address`] | addresses such as `styx://host:7123` |
//! | [`error`] | [`Error`]: its kind, whether to retry, whether records may have been appended |
//! | [`events`] | connections that were opened and lost, for programs that log them |
//! | [`options`] | every option by name; defaults and limits of a client's options |
//! | [`blocking`] | the same types for programs without an executor |
//! | [`bindings`] | the interface for bindings to other languages |
//!
//! It supports Linux and macOS. Only what is marked with `cfg(unix)` needs descriptors:
//! `consumer::bell`, and the queues of `completion` and `consumer` that have one.

#[cfg(not(unix))]
compile_error!("styx-client supports Linux and macOS");

mod activity;
pub mod address;
mod backoff;
pub mod batch;
pub mod bindings;
pub mod blocking;
pub mod client;
mod completion;
pub mod consumer;
pub mod error;
pub mod events;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod logs;
pub mod options;
pub mod over_http;
mod process;
pub mod producer;
mod runtime;
mod server_info;
mod transport;
mod wait;

pub use address::Address;
pub use batch::{OwnedRecord, Record, RecordBatch};
pub use client::Client;
pub use consumer::{Consumer, Start};
pub use error::{Error, Kind};
pub use logs::{ListedLog, LogDetails};
pub use producer::{Ack, Producer};
pub use server_info::ServerInfo;
pub use styx_protocol::{
    Checkpoint, Code, Codec, Codecs, CursorInfo, LogConfig, LogId, LogInfo, LogName, LogStatus,
    Position,
};
