//! Batches of records.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use ::styx_client::{Error, LogId, RecordBatch};

use crate::consumer::styx_checkpoint;
use crate::error::{fallible, infallible, styx_error};
use crate::pointer::{
    Space, array, bytes, check_out, fixed, object, space, store, store_sized, take_back,
};

/// Consecutive records of one log. It does not change, so any number of threads may use it. Its
/// memory is freed with the last batch that uses it.
pub struct styx_batch {
    records: RecordBatch,
}

/// One record. The payload is valid until the batch is freed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_record {
    pub data: *const u8,
    pub size: usize,
    /// The position in the log.
    pub position: u64,
    /// When the record was appended, in µs since 1970-01-01 UTC.
    pub timestamp: u64,
}

/// Bytes of the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_bytes {
    pub data: *const u8,
    pub size: usize,
}

impl styx_batch {
    /// A batch for the caller.
    pub(crate) fn give(records: RecordBatch) -> *mut styx_batch {
        crate::pointer::give(styx_batch { records })
    }
}

/// Makes a batch, for a test. Copies the payloads, which have, with 8 bytes for each, at most 4 GiB.
///
/// batch: receives the batch. Free it with styx_batch_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_of(
    first_position: u64,
    timestamp: u64,
    payloads: *const styx_bytes,
    count: usize,
    batch: *mut *mut styx_batch,
) -> *mut styx_error {
    fallible(|| {
        check_out(batch, "batch")?;
        // SAFETY: the caller's promises.
        let payloads: Vec<&[u8]> = unsafe {
            let payloads = array(payloads, count, "payloads")?;
            payloads
                .iter()
                .map(|payload| bytes(payload.data, payload.size))
                .collect::<Result<_, _>>()?
        };
        if first_position.checked_add(count as u64).is_none() {
            return Err(Error::invalid_argument("the positions exceed UINT64_MAX"));
        }
        let bytes = payloads
            .iter()
            .fold(0usize, |sum, payload| sum.saturating_add(payload.len()).saturating_add(8));
        if u32::try_from(bytes).is_err() {
            return Err(Error::invalid_argument(
                "the payloads, and 8 bytes for each, exceed 4 GiB",
            ));
        }
        let records = RecordBatch::of(LogId(0), first_position, timestamp, payloads);
        // SAFETY: the caller's promise.
        unsafe { store(batch, styx_batch::give(records)) };
        Ok(())
    })
}

/// The number of records; 0 if the batch is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_len(batch: *const styx_batch) -> usize {
    // SAFETY: the caller's promise.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.records.len())
}

/// Stores one record, and returns whether there is one at this index. `size` is
/// sizeof(styx_record).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_get(
    batch: *const styx_batch,
    index: usize,
    record: *mut styx_record,
    size: usize,
) -> bool {
    // No panic: `get` returns nothing if the index is out of range.
    // SAFETY: the caller's promise.
    let Some(batch) = (unsafe { batch.as_ref() }) else { return false };
    match batch.records.get_nearby(index) {
        Some(found) if size == size_of::<styx_record>() => {
            // SAFETY: the caller's promise.
            unsafe { store(record, view(found)) };
            true
        }
        // SAFETY: the caller's promise.
        _ => unsafe { get_anywhere(batch, index, record, size) },
    }
}

/// A function of its own with the same arguments, so that the frequent case needs no stack.
///
/// # Safety
/// The record is NULL or has `size` writable bytes.
#[cold]
#[inline(never)]
unsafe fn get_anywhere(
    batch: &styx_batch,
    index: usize,
    record: *mut styx_record,
    size: usize,
) -> bool {
    let Some(found) = batch.records.get(index) else { return false };
    // SAFETY: the caller's promise.
    unsafe { store_sized(record, size, view(found)) };
    true
}

/// Stores the records from index `first` on, up to `capacity` of them, and returns their number:
/// the fastest way to all records of a batch. `size` is sizeof(styx_record).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_views(
    batch: *const styx_batch,
    first: usize,
    records: *mut styx_record,
    capacity: usize,
    size: usize,
) -> usize {
    infallible(0, || {
        // SAFETY: the caller's promise.
        let Some(batch) = (unsafe { batch.as_ref() }) else { return 0 };
        let first = first.min(batch.records.len());
        // SAFETY: the caller's promise.
        let mut places = unsafe { space(records, capacity, size) };
        let count = places.len().min(batch.records.len() - first);
        let from_first = || batch.records.slice(first..first + count);
        match &mut places {
            Space::Same(places) if first == 0 => fill(&batch.records, &mut places[..count]),
            Space::Same(places) => fill(&from_first(), &mut places[..count]),
            Space::Other { .. } => {
                let records = from_first();
                let views = records.iter().map(view).enumerate();
                views.for_each(|(index, record)| places.store(index, record));
                count
            }
        }
    })
}

/// Stores records from the first on, and returns their number: that of the places, which are not
/// more than the records. Records of one timestamp are stored in a loop without branches on it.
fn fill(records: &RecordBatch, places: &mut [MaybeUninit<styx_record>]) -> usize {
    let (data, index) = (&records.data()[..], records.index());
    let mut runs = records.runs().peekable();
    let mut filled = 0;
    while let Some(run) = runs.next() {
        let end = runs.peek().map_or(usize::MAX, |next| next.first).min(places.len());
        let (Some(entries), Some(places)) = (index.get(filled..end), places.get_mut(filled..end))
        else {
            break;
        };
        let positions = records.first_position() + filled as u64..;
        for ((place, &[start, stop]), position) in places.iter_mut().zip(entries).zip(positions) {
            let payload = data.get(start as usize..stop as usize).unwrap_or_default();
            let (data, size) = (payload.as_ptr(), payload.len());
            place.write(styx_record { data, size, position, timestamp: run.timestamp });
        }
        filled = end;
    }
    filled
}

#[inline]
fn view(record: ::styx_client::Record<'_>) -> styx_record {
    let payload = record.payload();
    styx_record {
        data: payload.as_ptr(),
        size: payload.len(),
        position: record.position(),
        timestamp: record.timestamp(),
    }
}

/// The position of the first record; 0 if the batch is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_first_position(batch: *const styx_batch) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.records.first_position())
}

/// The position behind the last record; 0 if the batch is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_next_position(batch: *const styx_batch) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.records.next_position())
}

/// Where to continue after this batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_checkpoint(
    batch: *const styx_batch,
    checkpoint: *mut styx_checkpoint,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe {
            let batch = object(batch, "batch")?;
            store(checkpoint, styx_checkpoint::of(batch.records.checkpoint()));
        }
        Ok(())
    })
}

/// Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
/// characters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_log_id(
    batch: *const styx_batch,
    log_id: *mut [c_char; 40],
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe {
            let batch = object(batch, "batch")?;
            store(log_id, fixed(&batch.records.log_id().to_string()));
        }
        Ok(())
    })
}

/// The memory of the batch: the payloads, and possibly bytes between them. `index` receives, for
/// each record, where its payload starts and ends in `data`: 2 * styx_batch_len() numbers. All
/// pointers are valid until the batch is freed. For programs that work on whole columns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_memory(
    batch: *const styx_batch,
    data: *mut *const u8,
    size: *mut usize,
    index: *mut *const u32,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe {
            let batch = object(batch, "batch")?;
            store(data, batch.records.data().as_ptr());
            store(size, batch.records.data().len());
            store(index, batch.records.index().as_flattened().as_ptr());
        }
        Ok(())
    })
}

/// Another handle of the same records, which is freed separately. NULL if the batch is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_clone(batch: *const styx_batch) -> *mut styx_batch {
    infallible(std::ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        unsafe { object(batch, "") }
            .map_or(std::ptr::null_mut(), |batch| styx_batch::give(batch.records.clone()))
    })
}

/// Frees a batch. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_batch_free(batch: *mut styx_batch) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(batch) }));
}
