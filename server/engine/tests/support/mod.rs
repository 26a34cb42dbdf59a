//! What the engine's tests share: names, catalogs, records, wakers and seeds.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "the environment names the seeds")]

use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use styx_engine::{Catalog, Error, Found, Log, Options, Ticket};
use styx_protocol::{LogName, Records, record};

/// A log name.
pub(crate) fn name(text: &str) -> LogName {
    text.parse().expect("a valid log name")
}

/// The catalog of a directory, with every log open.
pub(crate) fn open(directory: &Path) -> Catalog {
    let catalog = Catalog::open(Options::new(directory)).expect("opened");
    catalog.wait_until_open();
    catalog
}

/// Closes a catalog, which must not take long.
pub(crate) fn close(catalog: Catalog) {
    assert!(catalog.close(Duration::from_secs(30)), "closed within 30 s");
}

/// Closes a catalog and opens it again, with its log `log`. Nothing of it is in memory.
pub(crate) fn reopen(catalog: Catalog, directory: &Path) -> (Catalog, Log) {
    close(catalog);
    let catalog = open(directory);
    let log = catalog.log(&name("log")).expect("open");
    (catalog, log)
}

/// Records with these payloads.
pub(crate) fn records<P: AsRef<[u8]>>(payloads: impl IntoIterator<Item = P>) -> Records {
    let mut builder = record::Builder::new();
    for payload in payloads {
        assert!(builder.push(payload.as_ref()), "the records fit in one block");
    }
    builder.take()
}

/// The payloads of all records; checks that their positions are dense.
pub(crate) fn read_all(log: &Log) -> Vec<Vec<u8>> {
    read_all_by(log, 64 << 10)
}

/// The same, with reads of `bytes_max` bytes.
pub(crate) fn read_all_by(log: &Log, bytes_max: usize) -> Vec<Vec<u8>> {
    let start = log.start_position();
    let mut reader = log.reader(start).expect("a reader");
    let mut all = Vec::new();
    while let Found::Some(batch) = reader.read(bytes_max).expect("read") {
        for record in batch.records() {
            assert_eq!(record.position.0, start.0 + all.len() as u64, "positions are dense");
            all.push(record.payload.to_vec());
        }
    }
    all
}

/// The result of a ticket, if it is there now.
pub(crate) fn poll_once<T>(ticket: &mut Ticket<T>, waker: &Waker) -> Option<Result<T, Error>> {
    match Pin::new(ticket).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct WakeCount(AtomicUsize);

impl WakeCount {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The seeds to run: `STYX_SEED` alone, or the first `STYX_SEEDS`, or 2,000.
pub(crate) fn seeds() -> Range<u64> {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    match number("STYX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STYX_SEEDS").unwrap_or(2000),
    }
}
