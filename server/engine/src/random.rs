//! Random numbers from the operating system, for log ids and salts. Invariant: they come from the
//! system's secure generator, so clients cannot predict a salt.

use std::io;

/// Returns a random 64-bit number.
///
/// # Errors
/// The operating system provides no random numbers.
pub(crate) fn u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Returns a random 128-bit number.
///
/// # Errors
/// The operating system provides no random numbers.
pub(crate) fn u128() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u128::from_be_bytes(bytes))
}
