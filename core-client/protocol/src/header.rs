//! The names of the HTTP headers that Styx defines, in lower case.
//!
//! Some are for requests, some for responses and `101`s, and a few for both; docs/api.md
//! and docs/protocol.md say which.

/// A log's id, 32 hex digits. Every response about a log has it. In a request it is the
/// log that the caller expects.
pub const LOG_ID: &str = "x-styx-log-id";
/// In a response to a request that expects a log from which this one was restored: the expected
/// log's id, a colon, and the position up to which both are the same.
pub const RESTORED_FROM: &str = "x-styx-restored-from";
/// Position of the first record that the log still has.
pub const START_POSITION: &str = "x-styx-start-position";
/// Position of the next record to be appended.
pub const END_POSITION: &str = "x-styx-end-position";
/// Records before this position are also in the archive. Only responses of a server with an
/// archive have it.
pub const ARCHIVED_POSITION: &str = "x-styx-archived-position";
/// The position at which a read continues after this response.
pub const NEXT_POSITION: &str = "x-styx-next-position";
/// In a `101` to a consumer: the position of the first record that the server sends.
pub const POSITION: &str = "x-styx-position";
/// In a request: an end of the log that the caller knows to be durable.
pub const KNOWN_END: &str = "x-styx-known-end";
/// In a request: append only if the log ends at this position.
pub const EXPECTED_POSITION: &str = "x-styx-expected-position";
/// In a request: the producer's id.
pub const PRODUCER: &str = "x-styx-producer";
/// The producer's epoch.
pub const EPOCH: &str = "x-styx-epoch";
/// In a request: the sequence of its first record in the producer's stream.
pub const SEQUENCE: &str = "x-styx-sequence";
/// In a `101` to a producer: the sequence that the log expects next.
pub const NEXT_SEQUENCE: &str = "x-styx-next-sequence";
/// Seconds: how long a read waits, or the silence timeout of a stream.
pub const TIMEOUT: &str = "x-styx-timeout";
/// In a `101` to a producer: the most bytes of records in a block.
pub const MAX_BLOCK_SIZE: &str = "x-styx-max-block-size";
/// In a `101` to a producer: the most unacknowledged blocks.
pub const MAX_IN_FLIGHT_BLOCKS: &str = "x-styx-max-in-flight-blocks";
/// Optional features, as words separated by commas: requested in a request, granted in the
/// `101`.
pub const FEATURES: &str = "x-styx-features";
/// The id of a request, for log lines and responses.
pub const REQUEST_ID: &str = "x-request-id";

/// The trace that a request belongs to ([`traceparent`](crate::traceparent)). W3C defines it.
pub const TRACEPARENT: &str = "traceparent";

/// All headers that Styx defines, for tables and for CORS.
pub const ALL: [&str; 18] = [
    LOG_ID,
    RESTORED_FROM,
    START_POSITION,
    END_POSITION,
    ARCHIVED_POSITION,
    NEXT_POSITION,
    POSITION,
    KNOWN_END,
    EXPECTED_POSITION,
    PRODUCER,
    EPOCH,
    SEQUENCE,
    NEXT_SEQUENCE,
    TIMEOUT,
    MAX_BLOCK_SIZE,
    MAX_IN_FLIGHT_BLOCKS,
    FEATURES,
    REQUEST_ID,
];
