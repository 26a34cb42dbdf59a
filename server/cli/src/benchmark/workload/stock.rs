//! [`Stock`]: a log that was filled for others to read.
//!
//! ```text
//! large blocks    the client core, append_many     ▭▭▭▭▭▭▭▭▭▭ ▭▭▭▭▭▭▭▭▭▭ ▭▭▭…
//! single records  one stream, a block a record     ▭ ▭ ▭ ▭ ▭ ▭ ▭…   as POSTs make it
//! ```
//! Invariant: the record at position `i` is the one that is stamped with `i`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Origin;
use styx_protocol::frame::{self, Event};

use super::produce::{BATCH_BYTES, codec};
use crate::benchmark::payload::{Framing, Kind, Maker, Stamp, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::plan::Settings;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::flock::{Flock, STYX1, encode_record};
use crate::failure::Failure;

/// How much there is to read of large blocks at most.
const STOCK_BYTES: u64 = 512 << 20;
const STOCK_RECORDS: u64 = 4_000_000;
const STOCK_BYTES_QUICK: u64 = 1 << 20;
/// How much of single records, which are slow to write.
const SINGLE_RECORDS: u64 = 1 << 15;
const SINGLE_RECORDS_QUICK: u64 = 1 << 9;
/// Of these, how many are sent before the first is acked: half of what a server
/// allows, and so few that every socket has room for them.
const IN_FLIGHT: u64 = 64;
const WAIT: Duration = Duration::from_millis(100);

/// A log to read.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) log: Log,
    pub(super) templates: Arc<Templates>,
    pub(super) records: u64,
}

impl Stock {
    /// The log of large blocks that is there, or a new one in its place.
    pub(super) fn of<'s>(
        place: &'s mut Option<Stock>,
        server: &Server,
        kind: Kind,
        settings: Settings,
    ) -> Result<&'s Stock, Failure> {
        let there = place.take_if(|stock| stock.templates.kind() == kind);
        // The old log goes first: not two in the page cache.
        *place = None;
        let stock = match there {
            Some(stock) => stock,
            None => Stock::fill(server, kind, settings)?,
        };
        Ok(place.insert(stock))
    }

    fn fill(server: &Server, kind: Kind, settings: Settings) -> Result<Stock, Failure> {
        let templates = Arc::new(Templates::new(kind));
        let log = Log::create(server)?;
        let producer = server.client.producer(log.name()).compression(codec(kind)).open()?;
        let mut maker = Maker::new(&templates, 0, Framing::Bare);
        let bytes_max = if settings.quick { STOCK_BYTES_QUICK } else { STOCK_BYTES };
        let mut bytes = 0;
        while bytes < bytes_max && maker.made() < STOCK_RECORDS {
            let batch = maker.batch(BATCH_BYTES);
            bytes += batch.bytes().len() as u64;
            producer.append_many(batch.payloads())?;
        }
        producer.close()?;
        Ok(Stock { log, templates, records: maker.made() })
    }

    /// A new log of blocks of one record.
    pub(super) fn of_single_records(
        server: &Server,
        kind: Kind,
        settings: Settings,
    ) -> Result<Stock, Failure> {
        let templates = Arc::new(Templates::new(kind));
        let log = Log::create(server)?;
        let records = if settings.quick { SINGLE_RECORDS_QUICK } else { SINGLE_RECORDS };
        // Not the client core: it makes large blocks of what waits for acks.
        let request = format!("POST /logs/{}/records", log.name());
        let mut flock = Flock::new()?;
        let opened = Route::to(server)?.upgrade(&request, STYX1)?;
        flock.join(opened, frame::Route::ServerToProducer)?;
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
        flock.send(0, &next(0))?;
        let mut acked = 0;
        while acked < records {
            flock.hear(WAIT, |_, event| {
                let Event::Ack(ack) = event else { return Ok(None) };
                acked = ack.count;
                Ok(Some(next(acked)))
            })?;
        }
        Ok(Stock { log, templates, records })
    }
}
