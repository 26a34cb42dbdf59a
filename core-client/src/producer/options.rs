//! Defaults and limits of a producer's options.

use std::time::Duration;

/// Default of [`block_bytes`](super::Builder::block_bytes): 256 KiB.
pub const BLOCK_BYTES: usize = 256 << 10;
/// Default of [`in_flight_bytes`](super::Builder::in_flight_bytes): 32 MiB.
pub const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Default of [`deadline`](super::Builder::deadline): 120 s.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Default of [`close_timeout`](super::Builder::close_timeout): 30 s.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest [`linger`](super::Builder::linger): 60 s.
pub const LINGER_MAX: Duration = Duration::from_secs(60);
/// The most bytes of records in one batch: 1 GiB. Each record counts 8 bytes plus its
/// payload.
pub const BATCH_BYTES_MAX: usize = 1 << 30;
