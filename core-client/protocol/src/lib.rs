//! The bytes and words that a Styx server and its clients agree on.
//!
//! No I/O, no runtime: everything here turns bytes into values that cannot be
//! wrong, and back. Nothing here trusts a length field: a decoder checks it
//! against what is there and against [`limits`] before it acts on it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | one record: `crc \| size \| payload`, and validated runs of them |
//! | [`block`] | the 96-byte header in front of a run of records, and both together |
//! | [`codec`] | how bodies of blocks are packed |
//! | [`frame`] | styx/1: the frames around blocks, acks, heartbeats, errors |
//! | [`styx0`] | styx/0: the messages of the first binary protocol |
//! | [`handshake`] | how a request becomes a stream |
//! | [`header`] | the names of HTTP headers |
//! | [`binary_records`] | records behind their sizes, decoded from chunks |
//! | [`lines`] | records ended by a [`line_ending`], decoded from chunks |
//! | [`media_type`] | which of these forms a body has |
//! | [`read`] | the parameters of a read |
//! | [`position`] | [`Position`], the number of a record in its log |
//! | [`checkpoint`] | [`Checkpoint`], a position and the log it belongs to |
//! | [`log`] | names, ids, configuration and information about logs |
//! | [`error`] | the one table of error codes, statuses and close codes |
//! | [`limits`] | every bound that both sides know |

pub mod binary_records;
pub mod block;
pub mod checkpoint;
mod checksum;
pub mod codec;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod limits;
pub mod line_ending;
pub mod lines;
pub mod log;
pub mod media_type;
pub mod position;
pub mod read;
pub mod record;
pub mod styx0;

pub use checkpoint::Checkpoint;
pub use codec::{Codec, Codecs};
pub use error::Code;
pub use line_ending::LineEnding;
pub use log::{LogConfig, LogId, LogInfo, LogName, LogStatus};
pub use media_type::{ReadType, WriteType};
pub use position::Position;
pub use read::{ReadParams, Whence};
pub use record::Records;
