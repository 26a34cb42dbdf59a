//! `styx archive check`: whether the archive can be used from here.
//!
//! It races conditional writes, writes, reads and deletes an object with the credentials of this
//! machine, and compares the clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::offline;
use crate::probe::probe;
use crate::random;
use crate::store::{Error, Kind, Store};

/// A difference between the clocks above which requests are refused by some stores.
const CLOCK_MAX: Duration = Duration::from_secs(5 * 60);

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    /// The store's clock minus that of this machine, in seconds. It includes the time of a request.
    pub clock_seconds: f64,
    /// How long the write of a small object took.
    pub write: Duration,
    /// How long the read of a small object took.
    pub read: Duration,
    /// Reasons for which an archive will not work, or not well.
    pub problems: Vec<String>,
}

/// Checks the store. Blocks. Leaves no object.
///
/// # Errors
/// The store cannot be used: it does not answer, refuses the credentials, or its conditional writes
/// are not reliable.
pub fn check(store: &Store) -> Result<Checked, Error> {
    offline::run(async {
        probe(store).await?;
        let mut checked = Checked::default();
        let key = format!("probe/check-{:032x}", random::number()?);
        let bytes = Bytes::from_static(b"styx archive check");
        let started = std::time::Instant::now();
        store.put(&key, bytes.clone()).await?;
        checked.write = started.elapsed();
        let described = store.head(&key).await;
        let started = std::time::Instant::now();
        let read = store.get(&key, 1024).await;
        checked.read = started.elapsed();
        store.delete(&key).await?;
        let (read, _) = read?;
        let described = described?;
        if read != bytes {
            let why = "the object has other bytes than were written";
            return Err(Error::new(Kind::Damaged, key, why));
        }
        if store.directory().is_none() && described.crc.is_none() {
            let why = "the store does not keep the attributes of objects, so an upload is confirmed \
                       by its length alone";
            checked.problems.push(why.to_owned());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        checked.clock_seconds = described.modified_us as f64 / 1e6 - now.as_secs_f64();
        if checked.clock_seconds.abs() > CLOCK_MAX.as_secs_f64() {
            checked.problems.push(format!(
                "the clocks of the store and of this machine differ by {:.0} s: synchronize the \
                 clock of this machine",
                checked.clock_seconds.abs()
            ));
        }
        Ok(checked)
    })
}
