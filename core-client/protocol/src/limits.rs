//! The limits that both sides know. A length beyond its limit is rejected before any
//! memory is allocated for it.

/// Bytes before a record's payload: `crc: u32 | size: u32`.
pub const RECORD_HEADER_BYTES: usize = 8;

/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 96;

/// The most uncompressed bytes of records in one block (1 MiB), unless it has a single
/// larger record. This is also the limit of an atomic append.
pub const BLOCK_RAW_BYTES_MAX: usize = 1 << 20;

/// The largest `max_record_size` of a log (1 GiB): payload plus 8 bytes.
pub const MAX_RECORD_SIZE_MAX: u64 = 1 << 30;

/// The largest value of any other size or count in a log's configuration.
pub const CONFIG_VALUE_MAX: i64 = 1 << 53;

/// The most bytes of a log's name.
pub const LOG_NAME_BYTES_MAX: usize = 255;

/// Bytes of a frame's header in styx/1.
pub const FRAME_HEADER_BYTES: usize = 8;

/// The most bytes of blocks in one frame (16 MiB), unless it has a single larger block.
pub const FRAME_BLOCKS_BYTES_MAX: usize = 16 << 20;

/// The most runs in one ack. More runs are sent in several acks.
pub const ACK_RUNS_MAX: usize = 4096;

/// The most bytes of the message in an error frame.
pub const FAULT_MESSAGE_BYTES_MAX: usize = 4096;

/// The most unacknowledged blocks of a producer. A log remembers this number of its last
/// blocks, so sending them again never appends them twice.
pub const IN_FLIGHT_BLOCKS_MAX: usize = 128;

/// The least silence, in seconds, after which either side of a styx/0 stream may consider
/// its peer dead.
pub const STREAM_TIMEOUT_SECONDS_MIN: u64 = 2;
