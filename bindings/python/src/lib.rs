//! The native module `styx_client._native`: the client core for Python.
//!
//! It has no logic beyond Python's habits. The public classes are written in Python, and say
//! there what they guarantee; `Ack`, `Checkpoint`, `Commit`, `Record`, `RecordBatch` and `Index`
//! are public themselves, because they exist once for each record or batch.
//!
//! | module | content |
//! |---|---|
//! | `client`, `archive`, `call` | calls, which wait or tell a queue |
//! | `producer`, `encoded`, `ack`, `sends` | appending |
//! | `consumer`, `current`, `records` | reading |
//! | `batch`, `record`, `recent`, `index`, `iterators`, `arrow` | records in shared memory |
//! | `shared`, `completions` | how threads and event loops wait |
//! | `errors`, `checkpoint` | values |
//! | `ffi` | memory that Python and Rust share: with `arrow`, the unsafe code |
//!
//! Invariants: the interpreter is never held while a thread waits; no thread of the core runs
//! Python code or keeps a Python object alive; no lock of this module is held while Python
//! code runs.

mod ack;
mod archive;
mod arrow;
mod batch;
mod call;
mod checkpoint;
mod client;
mod completions;
mod consumer;
mod current;
mod encoded;
mod errors;
mod ffi;
mod index;
mod iterators;
mod producer;
mod recent;
mod record;
mod records;
mod sends;
mod shared;
mod tables;

use pyo3::prelude::*;

/// The client core of styx-client.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::ack::Ack;
    #[pymodule_export]
    use super::archive::{Backup, Restore};
    #[pymodule_export]
    use super::batch::RecordBatch;
    #[pymodule_export]
    use super::call::Call;
    #[pymodule_export]
    use super::checkpoint::Checkpoint;
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::completions::Completions;
    #[pymodule_export]
    use super::consumer::{Commit, Consumer};
    #[pymodule_export]
    use super::encoded::Encoded;
    #[pymodule_export]
    use super::index::Index;
    #[pymodule_export]
    use super::iterators::{BatchIterator, PayloadIterator};
    #[pymodule_export]
    use super::producer::{Failed, Producer};
    #[pymodule_export]
    use super::record::Record;
    #[pymodule_export]
    use super::records::Records;
    #[pymodule_export]
    use super::sends::Sends;
    #[pymodule_export]
    use super::shared::after_fork;
    #[pymodule_export]
    use super::tables::{kinds, options};

    /// The version of the client core.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name in Python")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
