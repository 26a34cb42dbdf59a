//! Random numbers: write ids, and keys of the probe.

use crate::store::{Error, Kind};

/// A random number.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn number() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Unavailable, "random numbers", e.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}
