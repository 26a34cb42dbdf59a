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
