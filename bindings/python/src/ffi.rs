//! The memory that Python and Rust share: the only place with unsafe code.
//!
//! | direction | how |
//! |---|---|
//! | in | [`with_bytes`]: the bytes of any contiguous buffer, borrowed while the interpreter is held |
//! | out | [`export`]: read-only memory of a batch, which the exporting object keeps alive |
//! | both | [`is_unshared`]: whether an object may be used again |

#![expect(unsafe_code, reason = "buffers are raw pointers")]

use std::os::raw::{c_int, c_void};
use std::ptr;
use std::slice;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use pyo3::ffi as python;

/// Calls `with` with the bytes of a `bytes`, `bytearray`, `memoryview` or another object with
/// a contiguous buffer. They are only valid during the call, which must not run Python code.
#[inline]
pub(crate) fn with_bytes<R>(
    object: &Bound<'_, PyAny>,
    with: impl FnOnce(&[u8]) -> R,
) -> PyResult<R> {
    match object.cast::<PyBytes>() {
        Ok(bytes) => Ok(with(bytes.as_bytes())),
        Err(_) => with_buffer(object, with),
    }
}

fn with_buffer<R>(object: &Bound<'_, PyAny>, with: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    let Ok(buffer) = PyUntypedBuffer::get(object) else { return Err(not_bytes(object)) };
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "the buffer is not contiguous: copy it with bytes(view), or with numpy.ascontiguousarray",
        ));
    }
    let length = buffer.len_bytes();
    if length == 0 {
        return Ok(with(&[]));
    }
    // SAFETY: the exporter guarantees `length` bytes from this pointer until the buffer is
    // released, at the end of this function. The interpreter is held, so no other thread
    // changes them. A free-threaded interpreter leaves that to the caller, as for every
    // function that takes a buffer.
    let bytes = unsafe { slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) };
    Ok(with(bytes))
}

#[cold]
fn not_bytes(object: &Bound<'_, PyAny>) -> PyErr {
    if object.is_instance_of::<PyString>() {
        return PyTypeError::new_err(
            "a record is bytes, not str: encode the text first, for example with text.encode()",
        );
    }
    let name = object.get_type().name().map(|name| name.to_string());
    let name = name.unwrap_or_else(|_| "this object".to_owned());
    PyTypeError::new_err(format!(
        "a record is bytes, bytearray, memoryview or another contiguous buffer, not {name}"
    ))
}

/// Whether `object` is the only reference to its object, so that nothing notices if the object
/// changes. Its class must have no weak references.
#[inline]
pub(crate) fn is_unshared<T>(_py: Python<'_>, object: &Py<T>) -> bool {
    // Without the interpreter's lock, another thread may change the count meanwhile.
    // SAFETY: the object exists, because there is a reference to it.
    cfg!(not(Py_GIL_DISABLED)) && unsafe { python::Py_REFCNT(object.as_ptr()) } == 1
}

/// The layout of exported memory.
pub(crate) struct Layout<'a> {
    /// The memory. It must not move or be freed before `owner` is.
    pub(crate) bytes: &'a [u8],
    /// Bytes of an item, with its code of the `struct` module.
    pub(crate) item: (usize, &'static std::ffi::CStr),
    /// The items in each dimension, and the bytes from one to the next, for as long as `owner`
    /// exists.
    pub(crate) shape: &'a [isize],
    pub(crate) strides: &'a [isize],
}

/// Fills a request for a buffer of `owner` with read-only memory that `owner` keeps alive.
///
/// # Errors
/// The caller wants to write.
///
/// # Safety
/// `view` is the argument of `__getbuffer__`, and everything in `layout` lives as long as
/// `owner`.
pub(crate) unsafe fn export<T: pyo3::PyClass>(
    owner: Bound<'_, T>,
    layout: &Layout<'_>,
    view: *mut python::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("there is no view to fill"));
    }
    if flags & python::PyBUF_WRITABLE == python::PyBUF_WRITABLE {
        return Err(PyBufferError::new_err("a batch is read-only"));
    }
    let wants = |flag: c_int| flags & flag == flag;
    // SAFETY: `view` is valid for writes, as the caller guarantees. The pointers live as long
    // as `owner`, to which the view has a reference.
    unsafe {
        (*view).buf = layout.bytes.as_ptr().cast_mut().cast::<c_void>();
        (*view).len = isize::try_from(layout.bytes.len()).unwrap_or(isize::MAX);
        (*view).readonly = 1;
        (*view).itemsize = isize::try_from(layout.item.0).unwrap_or(1);
        (*view).format = if wants(python::PyBUF_FORMAT) {
            layout.item.1.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        };
        (*view).ndim = c_int::try_from(layout.shape.len()).unwrap_or(1);
        (*view).shape = if wants(python::PyBUF_ND) {
            layout.shape.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        };
        (*view).strides = if wants(python::PyBUF_STRIDES) {
            layout.strides.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        };
        (*view).suboffsets = ptr::null_mut();
        (*view).internal = ptr::null_mut();
        (*view).obj = owner.into_any().into_ptr();
    }
    Ok(())
}

/// The entries of an index as bytes.
pub(crate) fn bytes_of(index: &[[u32; 2]]) -> &[u8] {
    let entries = index.as_flattened();
    // SAFETY: every byte of an integer is initialised, and bytes need no alignment.
    unsafe { slice::from_raw_parts(entries.as_ptr().cast::<u8>(), size_of_val(entries)) }
}
