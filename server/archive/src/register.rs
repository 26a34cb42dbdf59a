//! [`Register`]: one object that is replaced by compare-and-set.
//!
//! ```text
//! put with a condition ─▶ success ─────────────────────────────▶ written
//!        ▲            └─▶ anything else: read the object back ─┬▶ our bytes ────▶ written
//!        │                                                     ├▶ other bytes ──▶ lost
//!        └─────────────────── the same bytes again ◀───────────┴▶ unchanged
//! ```
//!
//! An answer can be lost, and a request can arrive late or twice. So a store may report a failed
//! condition because of the writer's own earlier attempt. Invariant: every answer but success is
//! followed by a read, and only the same bytes are sent again. The bytes of all writes differ,
//! because each has a random write id, so they identify the write.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::back_off::BackOff;
use crate::sabotage::{Mistake, makes};
use crate::store::{Error, Kind, Store, Version};

/// An object that is replaced by compare-and-set.
#[derive(Debug, Clone)]
pub struct Register {
    store: Store,
    key: String,
    bytes_max: u64,
    patience: Duration,
}

/// The bytes of a register and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// The bytes.
    pub bytes: Bytes,
    /// Their version.
    pub version: Version,
}

/// How an attempt to replace the bytes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// The register has the new bytes. This is their version.
    Written(Version),
    /// The register has other bytes, or none. The new bytes may have been in it before these. The
    /// caller must look at them, because they decide whether its change was lost.
    Lost(Option<Current>),
}

impl Register {
    /// The register with this key. Its bytes never exceed `bytes_max`. After `patience`, a write
    /// whose outcome cannot be learned is reported as [`Kind::Unavailable`].
    pub fn new(store: Store, key: String, bytes_max: u64, patience: Duration) -> Register {
        Register { store, key, bytes_max, patience }
    }

    /// The key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The current bytes, or `None` if the object does not exist.
    ///
    /// # Errors
    /// The store failed, or the object is too large.
    pub async fn read(&self) -> Result<Option<Current>, Error> {
        match self.store.get(&self.key, self.bytes_max).await {
            Ok((bytes, version)) => Ok(Some(Current { bytes, version })),
            Err(e) if e.kind == Kind::Missing => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the bytes if the register has the version `expected`, or does not exist if that is
    /// `None`. The new bytes must contain a random write id.
    ///
    /// Not cancel safe: a dropped call may have written the bytes.
    ///
    /// # Errors
    /// The outcome is unknown, and may be decided later by a request that is still on its way. Read
    /// the register before the next write.
    pub async fn replace(
        &self,
        expected: Option<&Version>,
        bytes: &Bytes,
    ) -> Result<Replaced, Error> {
        let started = Instant::now();
        let mut back_off = BackOff::default();
        loop {
            let error = match self.store.put_if(&self.key, expected, bytes.clone()).await {
                Ok(Some(version)) => return Ok(Replaced::Written(version)),
                Ok(None) => Error::new(Kind::Damaged, self.key.clone(), "the answer has no tag"),
                Err(error) => error,
            };
            if makes(Mistake::TrustPrecondition) && error.kind == Kind::Condition {
                return Ok(Replaced::Lost(self.read().await?));
            }
            if makes(Mistake::SkipReadBack) && error.kind != Kind::Condition {
                // The next write will not have this version, and so never succeed.
                let version = expected.cloned().unwrap_or_else(|| Version::of_tag(String::new()));
                return Ok(Replaced::Written(version));
            }
            let current = self.read_back(started, &mut back_off).await?;
            match current {
                Some(current) if current.bytes == *bytes => {
                    return Ok(Replaced::Written(current.version));
                }
                current if current.as_ref().map(|current| &current.version) != expected => {
                    return Ok(Replaced::Lost(current));
                }
                _ if error.kind == Kind::Denied || started.elapsed() > self.patience => {
                    return Err(unknown(error));
                }
                _ => back_off.wait().await,
            }
        }
    }

    /// Reads the register, however often the store fails, until the patience ends.
    async fn read_back(
        &self,
        started: Instant,
        back_off: &mut BackOff,
    ) -> Result<Option<Current>, Error> {
        loop {
            match self.read().await {
                Err(error) if error.kind == Kind::Unavailable => {
                    if started.elapsed() > self.patience {
                        return Err(error);
                    }
                    back_off.wait().await;
                }
                read => return read,
            }
        }
    }
}

/// The failure of a write whose outcome is not known. Never [`Kind::Condition`], which would say
/// that the register has another version.
fn unknown(error: Error) -> Error {
    match error.kind {
        Kind::Denied => error,
        _ => Error { kind: Kind::Unavailable, ..error },
    }
}
