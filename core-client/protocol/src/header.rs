//! The names of the headers that Styx adds to HTTP, in lower case.
//!
//! Requests carry some, answers and `101`s others, and a few go both ways;
//! docs/api.md and docs/protocol.md say which.

/// A log's id, 32 hex digits: in every answer about a log; in a request, the
/// log that the caller means.
pub const LOG_ID: &str = "x-styx-log-id";
/// Position of the first kept record.
pub const START_POSITION: &str = "x-styx-start-position";
/// Position that the next record will get.
pub const END_POSITION: &str = "x-styx-end-position";
/// Where a read goes on after this answer.
pub const NEXT_POSITION: &str = "x-styx-next-position";
/// In a `101` to a consumer: the position of the first record it will get.
pub const POSITION: &str = "x-styx-position";
/// In a request: the end that the caller knew to be durable.
pub const KNOWN_END: &str = "x-styx-known-end";
/// In a request: append only if the log ends here.
pub const EXPECTED_POSITION: &str = "x-styx-expected-position";
/// In a request: the producer's id.
pub const PRODUCER: &str = "x-styx-producer";
/// The producer's epoch.
pub const EPOCH: &str = "x-styx-epoch";
/// In a request: the number of its first record in the producer's stream.
pub const SEQUENCE: &str = "x-styx-sequence";
/// In a `101` to a producer: the sequence that the log expects next.
pub const NEXT_SEQUENCE: &str = "x-styx-next-sequence";
/// Seconds: of waiting in a read, of silence in a stream.
pub const TIMEOUT: &str = "x-styx-timeout";
/// In a `101` to a producer: bytes of a block's records at most.
pub const MAX_BLOCK_SIZE: &str = "x-styx-max-block-size";
/// In a `101` to a producer: blocks sent and not acked at most.
pub const MAX_IN_FLIGHT_BLOCKS: &str = "x-styx-max-in-flight-blocks";
/// Optional features, in words between commas: asked for in a request, granted
/// in the `101`.
pub const FEATURES: &str = "x-styx-features";
/// One request in logs and answers.
pub const REQUEST_ID: &str = "x-request-id";

/// All of ours, for tables and for browsers.
pub const ALL: [&str; 16] = [
    LOG_ID,
    START_POSITION,
    END_POSITION,
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
