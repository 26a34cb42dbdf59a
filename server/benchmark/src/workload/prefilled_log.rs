//! [`PrefilledLog`]: a log that is filled before a workload reads it.
//!
//! ```text
//! large blocks    client core, append_many           ▭▭▭▭▭▭▭▭▭▭ ▭▭▭▭▭▭▭▭▭▭ ▭▭▭…
//! single records  one stream, one record per block   ▭ ▭ ▭ ▭ ▭ ▭ ▭…   like single POSTs
//! ```
//! Invariant: the record at position `i` has the stamp `i`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Origin;
use styx_protocol::frame::{self, Event};

use super::produce::{BATCH_BYTES, codec};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Stamp, Templates};
use crate::plan::Settings;
use crate::wire::connection::Endpoint;
use crate::wire::styx1_connections::{STYX1, Styx1Connections, encode_record};

/// The maximum size of a log with large blocks.
const BYTES_MAX: u64 = 512 << 20;
const RECORDS_MAX: u64 = 4_000_000;
const BYTES_MAX_QUICK: u64 = 1 << 20;
/// The size of a log with single records, which takes longer to write.
const SINGLE_RECORDS: u64 = 1 << 15;
const SINGLE_RECORDS_QUICK: u64 = 1 << 9;
/// Unacked single records in flight: half of what a server allows, and few enough for
/// the buffer of every socket.
const IN_FLIGHT: u64 = 64;
const WAIT: Duration = Duration::from_millis(100);

/// A log to read.
#[derive(Debug)]
pub(super) struct PrefilledLog {
    pub(super) log: TemporaryLog,
    pub(super) templates: Arc<Templates>,
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
}

impl PrefilledLog {
    /// The log of large blocks in `cached` if it has this kind of payload. Otherwise a
    /// new log replaces it.
    ///
    /// # Errors
    /// The log cannot be filled.
    pub(super) fn with_large_blocks<'s>(
        cached: &'s mut Option<PrefilledLog>,
        server: &Server,
        kind: PayloadKind,
        settings: Settings,
    ) -> Result<&'s PrefilledLog, Error> {
        let there = cached.take_if(|prefilled| prefilled.templates.kind() == kind);
        // The old log is deleted first, so that the page cache never holds two.
        *cached = None;
        let prefilled = match there {
            Some(prefilled) => prefilled,
            None => {
                let bytes = if settings.quick { BYTES_MAX_QUICK } else { BYTES_MAX };
                PrefilledLog::fill(server, kind, bytes, RECORDS_MAX)?
            }
        };
        Ok(cached.insert(prefilled))
    }

    /// A new log of large blocks, with `bytes` of payloads or slightly more.
    ///
    /// # Errors
    /// The log cannot be filled.
    pub(super) fn with_bytes(
        server: &Server,
        kind: PayloadKind,
        bytes: u64,
    ) -> Result<PrefilledLog, Error> {
        PrefilledLog::fill(server, kind, bytes, u64::MAX)
    }

    fn fill(
        server: &Server,
        kind: PayloadKind,
        bytes_max: u64,
        records_max: u64,
    ) -> Result<PrefilledLog, Error> {
        let templates = Arc::new(Templates::new(kind));
        let log = TemporaryLog::create(server)?;
        let producer = server.client.producer(log.name()).compression(codec(kind)).open()?;
        let mut generator = RecordGenerator::new(&templates, 0, Framing::Raw);
        let mut payload_bytes = 0;
        while payload_bytes < bytes_max && generator.made() < records_max {
            let batch = generator.batch(BATCH_BYTES);
            payload_bytes += batch.bytes().len() as u64;
            producer.append_many(batch.payloads())?;
        }
        producer.close()?;
        Ok(PrefilledLog { log, templates, records: generator.made(), payload_bytes })
    }

    /// A new log with one record per block.
    ///
    /// # Errors
    /// The log cannot be filled.
    pub(super) fn with_single_records(
        server: &Server,
        kind: PayloadKind,
        settings: Settings,
    ) -> Result<PrefilledLog, Error> {
        let templates = Arc::new(Templates::new(kind));
        let log = TemporaryLog::create(server)?;
        let records = if settings.quick { SINGLE_RECORDS_QUICK } else { SINGLE_RECORDS };
        // Not with the client core, which combines waiting records into large blocks.
        let request = format!("POST /logs/{}/records", log.name());
        let mut connections = Styx1Connections::new()?;
        let opened = Endpoint::to(server)?.upgrade(&request, STYX1)?;
        connections.add(opened, frame::Route::ServerToProducer)?;
        let mut sent = 0;
        let mut next = |acked: u64| -> Bytes {
            let (mut payload, mut frames) = (Vec::new(), BytesMut::new());
            while sent < records.min(acked + IN_FLIGHT) {
                payload.clear();
                templates.append(Stamp { producer: 0, index: sent }, &mut payload);
                encode_record(&payload, Origin::default(), &mut frames);
                sent += 1;
            }
            frames.freeze()
        };
        connections.send(0, &next(0))?;
        let mut acked = 0;
        while acked < records {
            connections.poll(WAIT, |_, event| {
                let Event::Ack(ack) = event else { return Ok(None) };
                acked = ack.count;
                Ok(Some(next(acked)))
            })?;
        }
        let payload_bytes = records * templates.payload_bytes() as u64;
        Ok(PrefilledLog { log, templates, records, payload_bytes })
    }
}
