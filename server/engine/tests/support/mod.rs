//! Functions that the engine's test binaries share: names, catalogs, records, wakers and seeds.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "environment variables set the seeds")]

pub(crate) mod depot;
pub(crate) mod gate;

use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use styx_engine::{Catalog, Error, Found, Log, Options, Ticket};
use styx_protocol::{LogName, Records, record};

/// Parses a log name.
pub(crate) fn name(text: &str) -> LogName {
    text.parse().expect("a valid log name")
}

/// Opens the catalog of a directory and waits until every log is open.
pub(crate) fn open(directory: &Path) -> Catalog {
    let catalog = Catalog::open(Options::new(directory)).expect("opened");
    catalog.wait_until_open();
    catalog
}

/// Closes a catalog. Panics if this takes more than 30 s.
pub(crate) fn close(catalog: Catalog) {
    assert!(catalog.close(Duration::from_secs(30)), "closed within 30 s");
}

/// Closes a catalog, and opens it again with its log `log`. The log's records are then no longer in
/// memory.
pub(crate) fn reopen(catalog: Catalog, directory: &Path) -> (Catalog, Log) {
    close(catalog);
    let catalog = open(directory);
    let log = catalog.log(&name("log")).expect("open");
    (catalog, log)
}

/// Builds records with these payloads.
pub(crate) fn records<P: AsRef<[u8]>>(payloads: impl IntoIterator<Item = P>) -> Records {
    let mut builder = record::Builder::new();
    for payload in payloads {
        assert!(builder.push(payload.as_ref()), "the records fit in one block");
    }
    builder.take()
}

/// Reads the payloads of all records, and checks that their positions have no gaps.
pub(crate) fn read_all(log: &Log) -> Vec<Vec<u8>> {
    read_all_by(log, 64 << 10)
}

/// Like [`read_all`], with reads of up to `bytes_max` bytes.
pub(crate) fn read_all_by(log: &Log, bytes_max: usize) -> Vec<Vec<u8>> {
    let start = log.start_position();
    let mut reader = log.reader(start).expect("a reader");
    let mut all = Vec::new();
    loop {
        match reader.read(bytes_max).expect("read") {
            Found::Some(batch) => {
                for record in batch.records() {
                    assert_eq!(record.position.0, start.0 + all.len() as u64, "no gaps");
                    all.push(record.payload.to_vec());
                }
            }
            Found::NeedsStore(fetch) => reader.keep(fetch.wait().expect("fetched")),
            Found::AtEnd | Found::NeedsDisk => return all,
        }
    }
}

/// Polls a ticket once. Returns its result if it is finished.
pub(crate) fn poll_once<T>(ticket: &mut Ticket<T>, waker: &Waker) -> Option<Result<T, Error>> {
    match Pin::new(ticket).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// A waker that counts its wake-ups.
#[derive(Debug, Default)]
pub(crate) struct WakeCount(AtomicUsize);

impl WakeCount {
    /// Returns the number of wake-ups so far.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the seeds to run: only `STYX_SEED` if it is set, else the first `STYX_SEEDS` seeds. The
/// default is 2,000 seeds.
pub(crate) fn seeds() -> Range<u64> {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    match number("STYX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STYX_SEEDS").unwrap_or(2000),
    }
}
