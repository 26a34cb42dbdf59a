//! The numbers of errors, for the header: those of `styx_client::Kind`. A test compares them.
#![allow(dead_code, reason = "the header uses them")]

/// No such path.
pub const STYX_E_NOT_FOUND: u32 = 1;
/// The path does not support this method.
pub const STYX_E_METHOD_NOT_ALLOWED: u32 = 2;
/// A query, form or header value cannot be parsed.
pub const STYX_E_INVALID_PARAMS: u32 = 3;
/// The name is not a valid log name.
pub const STYX_E_LOG_INVALID_NAME: u32 = 4;
/// A log with that name already exists.
pub const STYX_E_LOG_EXIST: u32 = 5;
/// No log has that name.
pub const STYX_E_LOG_NOT_FOUND: u32 = 6;
/// The log is being opened, or is damaged.
pub const STYX_E_LOG_NOT_AVAILABLE: u32 = 7;
/// The request needs a Content-Length.
pub const STYX_E_MISSING_CONTENT_LENGTH: u32 = 8;
/// The position is before the first kept record or after the end.
pub const STYX_E_OUT_OF_RANGE: u32 = 9;
/// A record is larger than the log's max_record_size, or than the memory that the server may use
/// for it.
pub const STYX_E_RECORD_TOO_LARGE: u32 = 10;
/// The body cannot be decoded as its media type.
pub const STYX_E_MALFORMED_RECORDS: u32 = 11;
/// The log does not end at the expected position.
pub const STYX_E_POSITION_MISMATCH: u32 = 12;
/// Earlier records of this producer are missing.
pub const STYX_E_SEQUENCE_GAP: u32 = 13;
/// This sequence was already used for other records.
pub const STYX_E_SEQUENCE_REUSED: u32 = 14;
/// A producer with a higher epoch took over.
pub const STYX_E_PRODUCER_FENCED: u32 = 15;
/// The caller's log was recreated, restored or truncated.
pub const STYX_E_LOG_CHANGED: u32 = 16;
/// The log ends before a position that the caller knows to be durable.
pub const STYX_E_LOG_END_REGRESSED: u32 = 17;
/// A write or fsync failed; the records may be in the log after a restart.
pub const STYX_E_OUTCOME_UNKNOWN: u32 = 18;
/// The server has more work than it accepts.
pub const STYX_E_OVERLOADED: u32 = 19;
/// The server is stopping.
pub const STYX_E_SHUTTING_DOWN: u32 = 20;
/// A stored record fails its checksum.
pub const STYX_E_CORRUPT_RECORD: u32 = 21;
/// No space left on the storage.
pub const STYX_E_STORAGE_FULL: u32 = 22;
/// No valid token.
pub const STYX_E_UNAUTHORIZED: u32 = 23;
/// The token does not allow this.
pub const STYX_E_FORBIDDEN: u32 = 24;
/// This client sends too much.
pub const STYX_E_TOO_MANY_REQUESTS: u32 = 25;
/// The log no longer knows this producer (only clients report this).
pub const STYX_E_PRODUCER_UNKNOWN: u32 = 26;
/// The body stopped arriving, or arrived too slowly; `count` says what was appended.
pub const STYX_E_REQUEST_TIMEOUT: u32 = 27;
/// The log has no cursor with that name.
pub const STYX_E_CURSOR_NOT_FOUND: u32 = 28;
/// The cursor does not have the expected version: another consumer has taken it over, or it was changed or deleted.
pub const STYX_E_CURSOR_TAKEN: u32 = 29;
/// The log has as many cursors as a log can have.
pub const STYX_E_TOO_MANY_CURSORS: u32 = 30;
/// The limit of stored bytes, or of the number of logs, is reached.
pub const STYX_E_QUOTA_EXCEEDED: u32 = 31;
/// The records are in the archive, and its object store does not answer.
pub const STYX_E_STORE_UNAVAILABLE: u32 = 32;
/// Another server owns the log, and this one only reads it.
pub const STYX_E_READ_ONLY: u32 = 33;
/// A bug or an I/O error; the server's log has the cause.
pub const STYX_E_UNKNOWN_ERROR: u32 = 1000;
/// No connection could be opened, or the connection broke.
pub const STYX_E_CONNECTION_FAILED: u32 = 1001;
/// A deadline or timeout passed.
pub const STYX_E_TIMED_OUT: u32 = 1002;
/// The object was closed, or the call cancelled.
pub const STYX_E_CLOSED: u32 = 1003;
/// The process was forked: create a new client in the child.
pub const STYX_E_FORKED: u32 = 1004;
/// An argument or option is invalid.
pub const STYX_E_INVALID_ARGUMENT: u32 = 1005;
/// The call would have to wait, but never waits.
pub const STYX_E_WOULD_BLOCK: u32 = 1006;
/// The peer is not a Styx server, or one that is too old, or it violates the protocol.
pub const STYX_E_BAD_ANSWER: u32 = 1007;
/// The server's host name cannot be resolved.
pub const STYX_E_UNKNOWN_HOST: u32 = 1008;
/// The server's certificate is not trusted.
pub const STYX_E_UNTRUSTED_SERVER: u32 = 1009;
/// A bug: a background task of the client panicked.
pub const STYX_E_PANICKED: u32 = 1010;
