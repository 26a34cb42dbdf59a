//! Client core of the Styx event streaming database.
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
//! Futures of this crate may be awaited on any executor: sockets and timers live
//! on threads of the client's own. Dropping a future stops the waiting; what it
//! says about cancelling is on each method.
//!
//! | module | what it holds |
//! |---|---|
//! | [`client`] | [`Client`] and its [`Builder`](client::Builder) |
//! | [`logs`] | managing logs: create, list, delete, back up, … |
//! | [`producer`] | [`Producer`]: appends records, each once |
//! | [`address`] | `styx://host:7123` and its kin |
//! | [`error`] | [`Error`]: its kind, whether to retry, whether it may have been appended |
//! | [`options`] | defaults and bounds |
//! | [`consumer`] | [`Consumer`]: reads a log, over connections that heal |
//! | [`blocking`] | the same names for programs without an executor |
//! | [`batch`] | [`RecordBatch`]: records in shared memory |
//! | [`completion`] | what bindings for other languages wait on |

pub mod address;
mod backoff;
pub mod batch;
pub mod blocking;
pub mod client;
pub mod completion;
pub mod consumer;
pub mod error;
pub mod logs;
pub mod options;
pub mod producer;
mod runtime;
mod transport;
mod wait;

pub use address::Address;
pub use batch::{OwnedRecord, Record, RecordBatch};
pub use client::Client;
pub use consumer::{Consumer, Start};
pub use error::{Error, Kind};
pub use logs::LogDetails;
pub use producer::{Ack, Producer};
pub use styx_protocol::{
    Checkpoint, Code, Codec, Codecs, LogConfig, LogId, LogInfo, LogName, LogStatus, Position,
};
