//! The unsafe code of this crate: memory that Rust and JavaScript share.
#![expect(unsafe_code, reason = "a buffer of Node-API is a raw pointer")]

use bytes::Bytes;
use napi::bindgen_prelude::{BufferSlice, Env};

/// A buffer that shares the memory of `bytes`, and keeps it alive. JavaScript must not write
/// into it, because other batches may share the memory too.
pub(crate) fn external_buffer(env: &Env, bytes: Bytes) -> napi::Result<BufferSlice<'_>> {
    let (data, length) = (bytes.as_ptr().cast_mut(), bytes.len());
    // SAFETY: `bytes` owns the memory and does not move it. It is dropped by the finalizer, when
    // no buffer uses the memory. No Rust code writes into it meanwhile.
    unsafe { BufferSlice::from_external(env, data, length, bytes, |_, bytes| drop(bytes)) }
}
