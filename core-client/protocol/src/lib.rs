//! The bytes and words that a Styx server and its clients agree on.
//!
//! No I/O, no runtime: everything here turns bytes into values that cannot be
//! wrong, and back. Nothing here trusts a length field: a decoder checks it
//! against what is there and against [`limits`] before it acts on it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | one record: `crc \| size \| payload`, and validated runs of them |
//! | [`block`] | the 96-byte header in front of a run of records |
//! | [`position`] | [`Position`], the number of a record in its log |
//! | [`log`] | names, ids, configuration and information about logs |
//! | [`error`] | the one table of error codes, statuses and close codes |
//! | [`limits`] | every bound that both sides know |

pub mod block;
pub mod error;
pub mod limits;
pub mod log;
pub mod position;
pub mod record;

pub use error::Code;
pub use log::{LogConfig, LogId, LogInfo, LogName, LogStatus};
pub use position::Position;
pub use record::Records;
