//! The formats that a Styx server and its clients share: bytes, headers, parameters, error
//! codes.
//!
//! This crate does no I/O and needs no runtime. It converts bytes to values that are valid
//! by construction, and back. It trusts no length field: a decoder checks each against the
//! available bytes and against [`limits`] before it uses it.
//!
//! | module | content |
//! |---|---|
//! | [`record`] | one record, `crc \| size \| payload`, and validated sequences of records |
//! | [`block`] | a 96-byte header with a sequence of records |
//! | [`codec`] | how bodies of blocks are compressed |
//! | [`frame`] | styx/1: frames of blocks, acks, heartbeats and errors |
//! | [`styx0`] | styx/0: the messages of the first binary protocol |
//! | [`handshake`] | how an HTTP request becomes a stream |
//! | [`header`] | the names of HTTP headers |
//! | [`binary_records`] | records after their sizes, decoded from chunks |
//! | [`lines`] | records ended by a [`line_ending`], decoded from chunks |
//! | [`media_type`] | the media types of request and response bodies |
//! | [`read`] | the parameters of a read |
//! | [`position`] | [`Position`], the number of a record in its log |
//! | [`cursor`] | cursors: durable, named positions in a log |
//! | [`checkpoint`] | [`Checkpoint`], a position and the log it belongs to |
//! | [`log`] | names, ids, configuration and status of logs |
//! | [`error`] | the table of error codes, HTTP statuses and close codes |
//! | [`traceparent`] | the trace that a request belongs to |
//! | [`limits`] | the limits that both sides know |

pub mod binary_records;
pub mod block;
pub mod checkpoint;
mod checksum;
pub mod codec;
pub mod cursor;
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
pub mod traceparent;

pub use checkpoint::Checkpoint;
pub use codec::{Codec, Codecs};
pub use cursor::{CursorInfo, CursorName};
pub use error::Code;
pub use line_ending::LineEnding;
pub use log::{LogConfig, LogId, LogInfo, LogName, LogStatus};
pub use media_type::{ReadType, WriteType};
pub use position::Position;
pub use read::{ReadParams, Whence};
pub use record::Records;
