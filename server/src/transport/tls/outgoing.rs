//! [`Outgoing`]: encrypts a batch in the buffers of a thread, and [`send`]s it.

use std::io::{self, IoSlice};

use rustls::unbuffered::{EncryptError, WriteTraffic};

use super::records::{RECORD_BYTES, ServerData};
use crate::transport::PlainSocket;

/// Plaintext that is encrypted and sent at a time: all that is kept of a peer that does
/// not read.
const BATCH_BYTES: usize = 4 * RECORD_BYTES;
/// The overhead of a batch's records, and a message of TLS itself.
const OVERHEAD_BYTES: usize = 4 << 10;

/// The buffers of a thread that encrypts.
pub(super) struct Outgoing {
    /// Plaintext of one record, gathered from several slices.
    record: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

/// How the socket is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// In a task: the runtime notes if the socket is full.
    Runtime,
    /// On a thread that waits by itself.
    Kernel,
}

impl Outgoing {
    pub(super) const fn new() -> Outgoing {
        Outgoing { record: Vec::new(), ciphertext: Vec::new() }
    }

    /// Encrypts a batch of the slices' bytes into `ciphertext`. A part of a slice that
    /// fills records is encrypted where it is; smaller ones are gathered, so that small
    /// frames do not become small records.
    pub(super) fn encrypt(
        &mut self,
        traffic: &mut WriteTraffic<'_, ServerData>,
        slices: &[IoSlice<'_>],
    ) -> io::Result<(usize, usize)> {
        let (mut count, mut bytes) = (0, 0);
        let mut slices = slices.iter().map(|slice| &**slice);
        let mut slice: &[u8] = &[];
        while count < BATCH_BYTES {
            if slice.is_empty() {
                match slices.next() {
                    Some(next) => slice = next,
                    None => break,
                }
                continue;
            }
            let whole = slice.len().min(BATCH_BYTES - count) / RECORD_BYTES * RECORD_BYTES;
            if whole > 0 {
                let (records, rest) = slice.split_at(whole);
                bytes += self.encode(bytes, |space| traffic.encrypt(records, space))?;
                count += whole;
                slice = rest;
                continue;
            }
            let mut record = std::mem::take(&mut self.record);
            record.clear();
            let room = RECORD_BYTES.min(BATCH_BYTES - count);
            loop {
                let (part, rest) = slice.split_at(slice.len().min(room - record.len()));
                record.extend_from_slice(part);
                slice = rest;
                if record.len() == room {
                    break;
                }
                match slices.next() {
                    Some(next) => slice = next,
                    None => break,
                }
            }
            count += record.len();
            let encrypted = self.encode(bytes, |space| traffic.encrypt(&record, space));
            self.record = record;
            bytes += encrypted?;
        }
        Ok((count, bytes))
    }

    /// Writes to `ciphertext` from `begin`, and returns the number of bytes.
    pub(super) fn encode(
        &mut self,
        begin: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        if self.ciphertext.len() < BATCH_BYTES + OVERHEAD_BYTES {
            self.ciphertext.resize(BATCH_BYTES + OVERHEAD_BYTES, 0);
        }
        loop {
            match write(self.ciphertext.get_mut(begin..).unwrap_or_default()) {
                Ok(bytes) => return Ok(bytes),
                Err(EncryptError::InsufficientSize(needed)) => {
                    self.ciphertext.resize(begin + needed.required_size, 0);
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// Sends until the kernel takes no more; returns the number of bytes.
pub(super) fn send(socket: &PlainSocket, bytes: &[u8], via: Via) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        let result = match via {
            Via::Runtime => socket.try_write(rest),
            Via::Kernel => socket.options().send(rest),
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
