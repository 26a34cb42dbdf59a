//! Every bound that both sides know. A length beyond its bound is refused
//! before anything is allocated for it.

/// Bytes in front of a record's payload: `crc: u32 | size: u32`.
pub const RECORD_HEADER_BYTES: usize = 8;

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 96;

/// Uncompressed bytes of records in one block (1 MiB), unless it holds a
/// single larger record. Also what one atomic append may hold.
pub const BLOCK_RAW_BYTES_MAX: usize = 1 << 20;

/// Largest `max_record_size` a log may be given (1 GiB): payload plus 8 bytes.
pub const MAX_RECORD_SIZE_MAX: u64 = 1 << 30;

/// Largest value of any other size or count in a log's configuration.
pub const CONFIG_VALUE_MAX: i64 = 1 << 53;

/// Bytes of a log's name.
pub const LOG_NAME_BYTES_MAX: usize = 255;

/// Bytes in front of a frame's body in styx/1.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Bytes of a frame's blocks (16 MiB), unless it holds a single larger one.
pub const FRAME_BLOCKS_BYTES_MAX: usize = 16 << 20;

/// Runs in one ack; more become several acks.
pub const ACK_RUNS_MAX: usize = 4096;

/// Bytes of the message in an error frame.
pub const FAULT_MESSAGE_BYTES_MAX: usize = 4096;

/// Blocks that a producer may have sent and not yet seen acked. As many of its
/// last blocks a log remembers, so that sending them again never doubles them.
pub const IN_FLIGHT_BLOCKS_MAX: usize = 128;

/// Seconds that the first stream protocol asks either side to wait at least
/// before it takes its peer for dead.
pub const STREAM_TIMEOUT_SECONDS_MIN: u64 = 2;
