//! [`RecordBatch::of`]: a batch from payloads, for tests.

use bytes::Bytes;
use styx_protocol::LogId;
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::checksum;

use super::{RecordBatch, TimestampRun};

impl RecordBatch {
    /// A batch of these payloads, as a consumer returns it. A program can test with it how
    /// it processes records. All records have the same `timestamp`, in µs since the Unix
    /// epoch. The records have consecutive positions from `first_position` on.
    ///
    /// ```
    /// use styx_client::{LogId, RecordBatch};
    ///
    /// let batch = RecordBatch::of(LogId(7), 100, 0, ["one", "two"]);
    /// assert_eq!((batch.len(), batch.next_position()), (2, 102));
    /// assert_eq!(&batch[1], b"two");
    /// ```
    ///
    /// # Panics
    /// If the payloads and 8 bytes for each have more than 4 GiB, or if a position would
    /// exceed `u64::MAX`.
    #[must_use]
    pub fn of(
        log: LogId,
        first_position: u64,
        timestamp: u64,
        payloads: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> RecordBatch {
        RecordBatch::of_records(
            log,
            first_position,
            payloads.into_iter().map(|payload| (timestamp, payload)),
        )
    }

    /// As [`of`](Self::of), of records with a timestamp each. A consumer returns timestamps
    /// that never decrease; here they may.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    #[must_use]
    pub fn of_records(
        log: LogId,
        first_position: u64,
        records: impl IntoIterator<Item = (u64, impl AsRef<[u8]>)>,
    ) -> RecordBatch {
        let (mut data, mut index) = (Vec::new(), Vec::new());
        let mut runs: Vec<TimestampRun> = Vec::new();
        for (timestamp, payload) in records {
            let payload = payload.as_ref();
            let start = data.len() + RECORD_HEADER_BYTES;
            let end = u32::try_from(start + payload.len()).expect("at most 4 GiB of records");
            // Between the payloads are the same bytes as in a batch from a server.
            let size = (payload.len() as u32).to_be_bytes();
            data.extend_from_slice(&checksum(size, payload).to_be_bytes());
            data.extend_from_slice(&size);
            data.extend_from_slice(payload);
            if runs.last().is_none_or(|run| run.timestamp != timestamp) {
                runs.push(TimestampRun { first: index.len(), timestamp });
            }
            index.push([start as u32, end]);
        }
        let next = first_position.checked_add(index.len() as u64);
        assert!(next.is_some(), "the positions exceed u64::MAX");
        RecordBatch::new(log, first_position, Bytes::from(data), index, runs)
    }
}
