//! [`Batch`]: a batch of records for JavaScript: bytes, and where each record is in them.

use napi::bindgen_prelude::{BigInt, BigUint64Array, BufferSlice, Env, Float64Array, Uint32Array};
use napi_derive::napi;
use styx_client::RecordBatch;

use crate::ffi::external_buffer;

/// The largest integer that is exact as a JavaScript number.
const SAFE_MAX: u64 = (1 << 53) - 1;

/// Consecutive records.
#[napi(object)]
pub struct Batch<'env> {
    /// The memory with the payloads.
    pub data: BufferSlice<'env>,
    /// The start and end of each payload in `data`.
    pub index: Uint32Array,
    /// Pairs: the index of a record, and the timestamp of all records from it on, in µs.
    pub runs: Float64Array,
    /// The timestamps of `runs`, if one of them exceeds 2^53 - 1 (in the year 2255), so that
    /// `runs` does not have all its digits.
    pub timestamps: Option<BigUint64Array>,
    /// The position of the first record.
    pub first: BigInt,
}

impl<'env> Batch<'env> {
    /// Copies the batch, or shares its memory if `external`.
    pub(crate) fn new(
        env: &'env Env,
        batch: &RecordBatch,
        external: bool,
    ) -> napi::Result<Batch<'env>> {
        let data = if external {
            external_buffer(env, batch.data().clone())?
        } else {
            BufferSlice::copy_from(env, batch.data())?
        };
        let mut runs = Vec::new();
        for run in batch.runs() {
            runs.extend([float(run.first as u64), float(run.timestamp)]);
        }
        let is_large = batch.runs().any(|run| run.timestamp > SAFE_MAX);
        let timestamps =
            is_large.then(|| batch.runs().map(|run| run.timestamp).collect::<Vec<_>>());
        Ok(Batch {
            data,
            index: batch.index().as_flattened().to_vec().into(),
            runs: runs.into(),
            timestamps: timestamps.map(BigUint64Array::from),
            first: batch.first_position().into(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "documented in `Batch`")]
fn float(number: u64) -> f64 {
    number as f64
}
