//! The REST API: logs, appends, reads, backups, errors and HTTP itself.

mod appends;
mod backup;
mod by_hand;
mod clock;
mod compatibility;
mod concurrent_requests;
mod conditional_appends;
mod cursors;
mod error_codes;
mod follow;
mod half_close;
mod line_streams;
mod logs;
mod metrics;
mod reads;
mod restore_0x;
mod retention;
mod status;
mod traces;
mod transport;
