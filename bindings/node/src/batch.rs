//! [`Batch`]: a batch of records for JavaScript: bytes, and where each record is in them.

use napi::bindgen_prelude::{BigInt, BufferSlice, Env, Float64Array, Uint32Array};
use napi_derive::napi;
use styx_client::RecordBatch;

use crate::ffi::external_buffer;

/// Consecutive records.
#[napi(object)]
pub struct Batch<'env> {
    /// The memory with the payloads.
    pub data: BufferSlice<'env>,
    /// The start and end of each payload in `data`.
    pub index: Uint32Array,
    /// Pairs: the index of a record, and the timestamp of all records from it on, in µs. Exact
    /// until the year 2255.
    pub runs: Float64Array,
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
        Ok(Batch {
            data,
            index: batch.index().as_flattened().to_vec().into(),
            runs: runs.into(),
            first: batch.first_position().into(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "documented in `Batch`")]
fn float(number: u64) -> f64 {
    number as f64
}
