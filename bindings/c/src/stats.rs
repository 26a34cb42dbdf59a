//! The numbers of clients, producers and consumers.
//!
//! A later version of the library may add fields at the end: the functions that fill a struct
//! take its size.

use std::time::Duration;

/// "Never", in fields that count milliseconds since something has happened.
pub const STYX_NEVER: u64 = u64::MAX;

/// The numbers of a client.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_client_stats_t {
    /// Requests, and those of them that were repeated.
    pub requests: u64,
    pub retries: u64,
    /// Connections that were opened, and attempts that failed.
    pub connections: u64,
    pub failed_connections: u64,
    /// Connections and streams that are open now.
    pub open_connections: u64,
    pub open_streams: u64,
    /// Milliseconds since anything was received; STYX_NEVER before.
    pub since_last_heard_ms: u64,
}

/// The numbers of a producer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_producer_stats_t {
    /// Records that are durable, their bytes, and the blocks in which they were sent.
    pub acked_records: u64,
    pub acked_bytes: u64,
    pub acked_blocks: u64,
    /// Records that failed.
    pub failed_records: u64,
    /// Records that were appended and are neither durable nor have failed, and their bytes.
    pub in_flight_records: u64,
    pub in_flight_bytes: u64,
    /// The part of in_flight_bytes that waits to be sent.
    pub buffered_bytes: u64,
    /// Blocks that were sent again after a connection broke.
    pub resent_blocks: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// 1 while a connection is open, otherwise 0.
    pub is_connected: u64,
    /// Milliseconds since the last ack, and since anything was received; STYX_NEVER before.
    pub since_last_ack_ms: u64,
    pub since_last_heard_ms: u64,
}

/// The numbers of a consumer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_consumer_stats_t {
    pub received_records: u64,
    pub received_bytes: u64,
    pub received_batches: u64,
    /// Bytes that were received and not yet returned.
    pub buffered_bytes: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// 1 while a connection is open, otherwise 0.
    pub is_connected: u64,
    /// Milliseconds since anything was received; STYX_NEVER before.
    pub since_last_heard_ms: u64,
}

pub(crate) fn milliseconds(time: Option<Duration>) -> u64 {
    time.map_or(STYX_NEVER, |time| u64::try_from(time.as_millis()).unwrap_or(STYX_NEVER))
}
