//! Large input, and peers that are slow, stalled or endless: bounded memory and time.

mod connection_limit;
mod disk_reserve;
mod http2_streams;
mod large_input;
mod large_records;
mod many_logs;
mod principals;
mod slow_peers;
mod stalled_peers;
