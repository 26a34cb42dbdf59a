//! The methods of [`Producer`] that append several records at once.
//!
//! ```text
//! caller's records ─▶ Encoded ─ one part at a time, when there is space ─▶ pending blocks
//! ```
//! Everything is encoded before the first part is appended. So an invalid record appends
//! nothing, and no future holds the caller's records.

use std::future::Future;
use std::sync::Arc;

use styx_protocol::block::Codec;

use super::ack::Ack;
use super::calls::Admission;
use super::encoded::{Encoded, Part};
use super::outgoing::OpenedProducer;
use super::shared::ProducerShared;
use super::{Producer, no_space};
use crate::error::Error;

/// If the task is behind, the caller's thread compresses parts of at least this size.
/// A smaller part gains more from sharing a block with other records.
const COMPRESSED_BYTES_MIN: usize = 64 << 10;

impl Producer {
    /// Appends records in their order. A batch of at most 1 MiB is atomic: all of its
    /// records are appended, or none. Each record counts 8 bytes plus its payload. A
    /// larger batch is split into parts of at most 1 MiB, each of them atomic.
    ///
    /// The call encodes the whole batch before it returns the future, which does not
    /// hold `batch`. So the memory of the encoded records is bounded by the batch, which
    /// may have at most 1 GiB of records
    /// ([`BATCH_BYTES_MAX`](super::options::BATCH_BYTES_MAX)). The future then waits for
    /// space before each part, as [`append`](Self::append) does. To append more records
    /// than should be in memory, call this once for each part of them.
    ///
    /// With [`compression`](super::Builder::compression), the thread that polls the
    /// future compresses parts of at least 64 KiB if the producer's own thread cannot
    /// keep up.
    ///
    /// The ack is ready when the whole batch is durable, and has the position of the
    /// first record. The ack of an empty batch is ready at once, with position 0.
    ///
    /// A future that is dropped before it is ready has appended some of the parts; of a
    /// batch up to 1 MiB it has appended nothing.
    ///
    /// # Errors
    /// `invalid_argument` for a batch over 1 GiB, and `record_too_large`: nothing was
    /// appended. Otherwise as [`append`](Self::append); then earlier parts of a batch
    /// over 1 MiB may have been appended.
    pub fn append_many<I>(&self, batch: I) -> impl Future<Output = Result<Ack, Error>> + Send
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let encoded = Encoded::of(batch, self.opened.block_bytes_max);
        async move { append_parts(&self.shared, self.opened, encoded?).await }
    }

    /// As [`append_many`](Self::append_many), without waiting, for a batch of at most
    /// 1 MiB.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`](crate::Kind::WouldBlock) if `append_many` would wait; at most
    /// one record was taken from `batch`, and none was encoded.
    /// [`Kind::InvalidArgument`](crate::Kind::InvalidArgument) for a larger batch;
    /// otherwise as `append_many`.
    pub fn try_append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut batch = batch.into_iter();
        let Some(first) = batch.next() else {
            return Ok(ack_of_nothing(&self.shared));
        };
        if !self.shared.admits()? {
            return Err(no_space());
        }
        let mut encoded = Encoded::with_part_bytes(self.opened.block_bytes_max);
        encoded.push_before(first.as_ref(), || batch.size_hint().0)?;
        for payload in batch {
            encoded.push(payload.as_ref())?;
            if encoded.parts() > 1 {
                return Err(Error::invalid_argument(
                    "the batch is larger than 1 MiB: append it in parts, or use append_many",
                ));
            }
        }
        self.append_admitted(&mut encoded)
    }

    /// See [`try_append_encoded`](Self::try_append_encoded) in `bindings`.
    pub(crate) fn try_append_parts(&self, batch: &mut Encoded) -> Result<Ack, Error> {
        while !batch.is_empty() {
            match self.shared.admits() {
                Ok(true) => {}
                Ok(false) => return Err(no_space()),
                Err(ended) => {
                    batch.take_ack();
                    return Err(ended);
                }
            }
            let ack = self.append_admitted(batch)?;
            batch.accepted(ack);
        }
        Ok(batch.take_ack().unwrap_or_else(|| ack_of_nothing(&self.shared)))
    }

    /// See [`append_encoded`](Self::append_encoded) in `bindings`.
    pub(crate) fn append_all_parts(
        &self,
        batch: Encoded,
    ) -> impl Future<Output = Result<Ack, Error>> + Send + use<> {
        let (shared, opened) = (Arc::clone(&self.shared), self.opened);
        async move { append_parts(&shared, opened, batch).await }
    }

    /// Appends the oldest part, for which there was space a moment ago.
    ///
    /// # Errors
    /// The producer does not accept records. The part is still in `batch`, and the acks
    /// of earlier parts are not.
    fn append_admitted(&self, batch: &mut Encoded) -> Result<Ack, Error> {
        let OpenedProducer { codec, block_bytes_max, .. } = self.opened;
        let Some(part) = batch.take_part(block_bytes_max) else {
            return Ok(ack_of_nothing(&self.shared));
        };
        let mut part = Some(part);
        let plain = part.as_mut().and_then(|part| compress_if_behind(&self.shared, codec, part));
        let appended = self.shared.push_part(&mut part, Admission::Granted);
        if let Some(mut part) = part {
            // Another producer may not be allowed to use this codec.
            if let Some(plain) = plain {
                part.restore(plain);
            }
            batch.put_back(part);
            batch.take_ack();
        }
        appended?.ok_or_else(no_space)
    }
}

/// Appends all parts, and waits for space before each.
async fn append_parts(
    shared: &ProducerShared,
    opened: OpenedProducer,
    mut batch: Encoded,
) -> Result<Ack, Error> {
    while let Some(mut part) = batch.take_part(opened.block_bytes_max) {
        compress_if_behind(shared, opened.codec, &mut part);
        let mut part = Some(part);
        let ack = match shared.push_part(&mut part, Admission::IfSpace)? {
            Some(ack) => ack,
            None => shared.when_space(|| shared.push_part(&mut part, Admission::IfSpace)).await?,
        };
        batch.accepted(ack);
    }
    Ok(batch.take_ack().unwrap_or_else(|| ack_of_nothing(shared)))
}

/// The task compresses one block after the other. If a full block is already pending,
/// this thread compresses the part. Returns the plain bytes that it has replaced.
fn compress_if_behind(shared: &ProducerShared, codec: Codec, part: &mut Part) -> Option<Vec<u8>> {
    let is_large = part.raw_bytes() >= COMPRESSED_BYTES_MIN;
    if codec != Codec::None && is_large && shared.is_behind() {
        return part.compress(codec);
    }
    None
}

fn ack_of_nothing(shared: &ProducerShared) -> Ack {
    Ack::of_nothing(shared.next_sequence(), shared.process)
}
