//! Pointers of the caller.
//!
//! Each function here says what the caller of the C function has promised. NULL is checked; the
//! rest cannot be.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

use ::styx_client::Error;

/// A reference to an object of this library.
///
/// # Safety
/// The pointer is NULL, or comes from this library and was not freed.
pub(crate) unsafe fn object<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Error> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| is_null(what))
}

/// The same for an object that one thread at a time uses.
///
/// # Safety
/// As [`object`], and no other thread uses it meanwhile.
pub(crate) unsafe fn object_mut<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Error> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_mut() }.ok_or_else(|| is_null(what))
}

/// A text that ends with NUL.
///
/// # Safety
/// The pointer is NULL, or a text that ends with NUL and does not change meanwhile.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Error> {
    if pointer.is_null() {
        return Err(is_null(what));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Error::invalid_argument(format!("{what} is not valid UTF-8")))
}

/// Bytes; `{NULL, 0}` is empty.
///
/// # Safety
/// The memory has `size` readable bytes, which do not change meanwhile.
pub(crate) unsafe fn bytes<'a>(data: *const u8, size: usize) -> Result<&'a [u8], Error> {
    // SAFETY: the caller's promise.
    unsafe { array(data, size, "data") }
}

/// An array of values; `{NULL, 0}` is empty.
///
/// # Safety
/// As [`bytes`], for `count` values.
pub(crate) unsafe fn array<'a, T>(
    data: *const T,
    count: usize,
    what: &str,
) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(is_null(what));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Error::invalid_argument(format!("{what}: {count} is too large for its size")));
    }
    if !data.is_aligned() {
        return Err(Error::invalid_argument(format!("{what} is not aligned for its type")));
    }
    // SAFETY: the caller's promise; NULL, sizes beyond isize::MAX and addresses that are not
    // aligned were refused.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// Memory for `count` structs of `size` bytes each, which the caller reads afterwards;
/// `{NULL, 0}` is empty.
///
/// # Safety
/// The memory has space for them.
pub(crate) unsafe fn space<'a, T>(data: *mut T, count: usize, size: usize) -> Space<'a, T> {
    let fits = size != 0 && count <= isize::MAX as usize / size;
    if data.is_null() || !data.is_aligned() || !fits {
        return Space::Same(&mut []);
    }
    if size != size_of::<T>() {
        return Space::Other { data: data.cast(), count, size };
    }
    // SAFETY: the caller's promise. Nothing is read from it before it is written.
    Space::Same(unsafe { std::slice::from_raw_parts_mut(data.cast(), count) })
}

/// An array of the caller. Its structs may be those of another version of the header.
pub(crate) enum Space<'a, T> {
    Same(&'a mut [MaybeUninit<T>]),
    Other { data: *mut u8, count: usize, size: usize },
}

impl<T: Copy> Space<'_, T> {
    /// The number of structs.
    pub(crate) fn len(&self) -> usize {
        match self {
            Space::Same(places) => places.len(),
            Space::Other { count, .. } => *count,
        }
    }

    /// Stores one struct at an index that is less than `len`.
    pub(crate) fn store(&mut self, index: usize, value: T) {
        match self {
            Space::Same(places) => {
                places[index].write(value);
            }
            Space::Other { data, count, size } => {
                assert!(index < *count, "{index} is less than {count}");
                // SAFETY: `space` has promised `count` places of `size` bytes.
                unsafe { store_sized(data.add(index * *size).cast(), *size, value) };
            }
        }
    }
}

/// Checks that a result can be stored before the call is made.
pub(crate) fn check_out<T>(out: *mut T, what: &str) -> Result<(), Error> {
    if out.is_null() { Err(is_null(what)) } else { Ok(()) }
}

/// Stores a result; nothing if the pointer is NULL.
///
/// # Safety
/// The pointer is NULL or can be written to.
pub(crate) unsafe fn store<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write(value) };
    }
}

/// Stores the first `size` bytes of a struct, which is what the caller's version of the header
/// knows of it. If that version knows more, the rest is 0.
///
/// # Safety
/// `out` is NULL or has `size` writable bytes. `T` consists of integers and pointers, without
/// padding between them.
#[inline]
pub(crate) unsafe fn store_sized<T: Copy>(out: *mut T, size: usize, value: T) {
    if out.is_null() {
        return;
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's promise; `value` has `known` bytes, and such a struct may be copied as
    // bytes. The place of a struct with another size may not be aligned.
    unsafe {
        out.cast::<u8>().copy_from_nonoverlapping((&raw const value).cast::<u8>(), known);
        out.cast::<u8>().add(known).write_bytes(0, size - known);
    }
}

/// The first `size` bytes of a struct of the caller, over the defaults; all defaults if it is
/// NULL. A later version of the header may know more fields: they are refused unless they are 0.
///
/// # Safety
/// `from` is NULL or has `size` readable bytes. `T` consists of integers of 8 bytes.
pub(crate) unsafe fn load_sized<T: Copy>(
    from: *const T,
    size: usize,
    defaults: T,
    what: &str,
) -> Result<T, Error> {
    if from.is_null() {
        return Ok(defaults);
    }
    if size == 0 || !size.is_multiple_of(8) {
        return Err(Error::invalid_argument(format!(
            "{what} has {size} bytes, which is not the size of any version: pass sizeof"
        )));
    }
    // SAFETY: the caller's promise.
    let given = unsafe { array(from.cast::<u8>(), size, what) }?;
    let known = size.min(size_of::<T>());
    if let Some(at) = given[known..].iter().position(|byte| *byte != 0) {
        return Err(Error::invalid_argument(format!(
            "{what} has a field at byte {} that libstyx {} does not know: leave it 0, or install \
             a newer libstyx",
            (known + at) / 8 * 8,
            env!("CARGO_PKG_VERSION"),
        )));
    }
    let mut value = defaults;
    // SAFETY: both have `known` bytes, and integers may have any bytes.
    unsafe { (&raw mut value).cast::<u8>().copy_from_nonoverlapping(given.as_ptr(), known) };
    Ok(value)
}

/// Makes an object for the caller, who frees it.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes an object back; nothing if it is NULL.
///
/// # Safety
/// The pointer is NULL, or comes from [`give`] and was not taken back.
pub(crate) unsafe fn take_back<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// A text in an array of the caller's struct: cut if it is too long, and always with a NUL.
pub(crate) fn fixed<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(text.bytes().take(N - 1)) {
        *to = c_char::from_ne_bytes([from]);
    }
    array
}

fn is_null(what: &str) -> Error {
    Error::invalid_argument(format!("{what} is NULL"))
}
