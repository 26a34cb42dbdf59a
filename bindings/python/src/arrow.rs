//! A batch in the [Arrow C data interface](https://arrow.apache.org/docs/format/CDataInterface.html):
//! `struct<position: uint64, timestamp: timestamp[us, UTC], payload: binary_view>`.
//!
//! Payloads are not copied: their views point into the memory of the batch. Positions and
//! timestamps take 8 bytes a record, and a view takes 16.

#![expect(unsafe_code, reason = "the interface consists of structs with raw pointers")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use styx_client::RecordBatch;

/// The fields of the struct: name and format.
const FIELDS: [(&CStr, &CStr); 3] =
    [(c"position", c"L"), (c"timestamp", c"tsu:UTC"), (c"payload", c"vz")];
/// A payload of up to this many bytes is in its view itself.
const INLINE_BYTES_MAX: usize = 12;

/// `struct ArrowSchema` of the interface.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray` of the interface.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

// SAFETY: whoever holds one of these structs owns what it points to, and nothing in it belongs
// to a thread.
unsafe impl Send for Schema {}
// SAFETY: as above.
unsafe impl Send for Array {}

/// The memory that an array owns. Its `release` frees it.
struct Owned {
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
    /// The memory that `buffers` point to.
    _memory: Memory,
}

enum Memory {
    Nothing,
    Numbers { _numbers: Vec<u64> },
    Payloads { _views: Vec<[u8; 16]>, _data_bytes: Box<i64>, _batch: RecordBatch },
}

/// The pair of capsules that `__arrow_c_array__` returns.
pub(crate) fn array<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Bound<'py, PyTuple>> {
    let views = views(batch)?;
    let schema = PyCapsule::new_with_value_and_destructor(
        py,
        schema(),
        c"arrow_schema",
        |mut schema, _| {
            if let Some(release) = schema.release {
                // SAFETY: the consumer has not taken the struct over, because it would have
                // cleared `release`.
                unsafe { release(&raw mut schema) }
            }
        },
    )?;
    let array = struct_array(batch, views);
    let array =
        PyCapsule::new_with_value_and_destructor(py, array, c"arrow_array", |mut array, _| {
            if let Some(release) = array.release {
                // SAFETY: as above.
                unsafe { release(&raw mut array) }
            }
        })?;
    (schema, array).into_pyobject(py)
}

fn schema() -> Schema {
    let children =
        FIELDS.map(|(name, format)| Box::into_raw(Box::new(field(name, format, vec![]))));
    field(c"", c"+s", children.to_vec())
}

/// `children` are owned by the field.
fn field(name: &'static CStr, format: &'static CStr, children: Vec<*mut Schema>) -> Schema {
    let n_children = children.len() as i64;
    let children = Box::new(children);
    let pointers = children.as_ptr().cast_mut();
    Schema {
        format: format.as_ptr(),
        name: name.as_ptr(),
        metadata: ptr::null(),
        flags: 0,
        n_children,
        children: pointers,
        dictionary: ptr::null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(children).cast::<c_void>(),
    }
}

/// # Safety
/// `schema` was made by [`field`], and was not released.
unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: `private_data` is the box that `field` made, and each child is a box of a struct
    // that its consumer may have moved away, which clears `release`.
    unsafe {
        let children = Box::from_raw((*schema).private_data.cast::<Vec<*mut Schema>>());
        for child in *children {
            let mut child = Box::from_raw(child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*schema).release = None;
    }
}

fn struct_array(batch: &RecordBatch, views: Vec<[u8; 16]>) -> Array {
    let length = batch.len();
    let positions: Vec<u64> = (batch.first_position()..batch.next_position()).collect();
    let timestamps: Vec<u64> = batch.iter().map(|record| record.timestamp()).collect();
    let children = vec![numbers(positions), numbers(timestamps), payloads(batch, views)];
    let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
    of(length, vec![ptr::null()], children, Memory::Nothing)
}

fn numbers(numbers: Vec<u64>) -> Array {
    let buffers = vec![ptr::null(), numbers.as_ptr().cast::<c_void>()];
    of(numbers.len(), buffers, Vec::new(), Memory::Numbers { _numbers: numbers })
}

fn payloads(batch: &RecordBatch, views: Vec<[u8; 16]>) -> Array {
    let batch = batch.clone();
    let data_bytes = Box::new(batch.data().len() as i64);
    let buffers = vec![
        ptr::null(),
        views.as_ptr().cast::<c_void>(),
        batch.data().as_ptr().cast::<c_void>(),
        (&raw const *data_bytes).cast::<c_void>(),
    ];
    let length = views.len();
    let memory = Memory::Payloads { _views: views, _data_bytes: data_bytes, _batch: batch };
    of(length, buffers, Vec::new(), memory)
}

/// The views of all payloads: the length, then up to 12 bytes, or 4 bytes of the payload, the
/// number of the buffer and the offset in it.
fn views(batch: &RecordBatch) -> PyResult<Vec<[u8; 16]>> {
    if i32::try_from(batch.data().len()).is_err() {
        return Err(PyOverflowError::new_err(
            "the batch has more than 2 GiB of memory, the limit of Arrow's views",
        ));
    }
    let of = |[start, end]: &[u32; 2]| {
        let payload = batch.data().get(*start as usize..*end as usize).unwrap_or_default();
        let mut view = [0; 16];
        let (size, rest) = view.split_at_mut(4);
        size.copy_from_slice(&(payload.len() as u32).to_ne_bytes());
        if payload.len() <= INLINE_BYTES_MAX {
            rest[..payload.len()].copy_from_slice(payload);
        } else {
            rest[..4].copy_from_slice(&payload[..4]);
            rest[8..].copy_from_slice(&start.to_ne_bytes());
        }
        view
    };
    Ok(batch.index().iter().map(of).collect())
}

/// `children` are owned by the array, and `buffers` point into `memory`.
fn of(
    length: usize,
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
    memory: Memory,
) -> Array {
    let owned = Box::new(Owned { buffers, children, _memory: memory });
    Array {
        length: length as i64,
        null_count: 0,
        offset: 0,
        n_buffers: owned.buffers.len() as i64,
        n_children: owned.children.len() as i64,
        buffers: owned.buffers.as_ptr().cast_mut(),
        children: owned.children.as_ptr().cast_mut(),
        dictionary: ptr::null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(owned).cast::<c_void>(),
    }
}

/// # Safety
/// `array` was made by [`of`], and was not released.
unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: as in `release_schema`.
    unsafe {
        let owned = Box::from_raw((*array).private_data.cast::<Owned>());
        for child in &owned.children {
            let mut child = Box::from_raw(*child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*array).release = None;
    }
}
