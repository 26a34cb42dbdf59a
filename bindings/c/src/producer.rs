//! A producer.

use std::collections::VecDeque;
use std::ffi::c_char;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::styx_client::bindings::{CompletionQueue, Encoded, Settled, Source};
use ::styx_client::{Error, Kind, Producer};

use crate::client::styx_client;
use crate::error::{Deadline, fallible, infallible, styx_error, wait};
use crate::fork::Home;
use crate::options::styx_options;
use crate::pointer::{
    array, bytes, check_out, fixed, give, object, space, store, store_sized, take_back, text,
};
use crate::stats::{milliseconds, styx_producer_stats_t};

/// Appends records to one log, in order and each exactly once. Any number of threads may use it at
/// the same time; the records of one thread keep their order.
///
/// It reconnects by itself: until then records wait, up to the option "deadline". An error that
/// cannot be retried ends it. Then every record that was not acknowledged fails with that error,
/// and so does every later call.
///
/// A record is durable when styx_producer_send(), styx_producer_flush(), styx_producer_close() or
/// styx_producer_acks() says so.
pub struct styx_producer {
    home: Home,
    core: Producer,
    /// Tells the descriptor about acks and room.
    queue: CompletionQueue,
    source: Source,
    /// `None` without the option "track_settled".
    acks: Option<Mutex<VecDeque<Settled>>>,
}

/// The most bytes of records that are appended whole or not at all.
const ATOMIC_BYTES_MAX: usize = 1 << 20;

/// The outcome of consecutive records.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_ack {
    /// The sequence of the first record, and the number of records.
    pub first_sequence: u64,
    pub count: u64,
    /// The position of the first record, if they are durable.
    pub position: u64,
    /// Why they are not durable; NULL if they are. It belongs to the caller: free it with
    /// styx_error_free().
    pub error: *mut styx_error,
}

/// Opens a producer. Blocks up to the client's option "timeout".
///
/// options: of a producer; NULL for none. The function copies them.
/// producer: receives the producer. Free it with styx_producer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_open(
    client: *const styx_client,
    log: *const c_char,
    options: *const styx_options,
    producer: *mut *mut styx_producer,
) -> *mut styx_error {
    fallible(|| {
        check_out(producer, "producer")?;
        // SAFETY: the caller's promises.
        let (client, log) = unsafe { (object(client, "client")?, text(log, "log")?) };
        let mut builder = client.core.producer(log);
        // SAFETY: the caller's promise.
        for (key, value) in unsafe { styx_options::pairs(options) } {
            builder = builder.set(&key, &value)?;
        }
        let queue = CompletionQueue::new(1).map_err(no_descriptor)?;
        let core = wait(builder.open())?;
        let source = queue.source(0);
        core.notify(source.clone());
        let acks = core.tracks_settled().then(Mutex::default);
        let home = Home::of(&client.core);
        // SAFETY: the caller's promise.
        unsafe { store(producer, give(styx_producer { home, core, queue, source, acks })) };
        Ok(())
    })
}

/// The error if the system has no descriptor left.
pub(crate) fn no_descriptor(error: std::io::Error) -> Error {
    Error::invalid_argument(format!("a descriptor cannot be created: {error}"))
}

/// Appends a record: copies it, and returns before it is durable. Never blocks.
///
/// data, size: the payload. {NULL, 0} is an empty record.
/// sequence: receives the number of the record in this producer, from 0. May be NULL.
///
/// STYX_E_WOULD_BLOCK if in_flight_bytes are waiting or unacknowledged: the record was not
/// appended. Wait with styx_producer_wait_room() or for the descriptor, then append it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_append(
    producer: *const styx_producer,
    data: *const u8,
    size: usize,
    sequence: *mut u64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (producer, payload) = unsafe { (object(producer, "producer")?, bytes(data, size)?) };
        producer.home.check()?;
        let ack = producer.core.try_append(payload)?;
        // SAFETY: the caller's promise.
        unsafe { store(sequence, ack.sequence()) };
        Ok(())
    })
}

/// Appends many records, which lie one after the other in memory: the fastest way. Never blocks.
///
/// data, size: the payloads.
/// ends, count: where each record ends in data, ascending; the first begins at 0. The last end is
///   at most size.
/// accepted: receives the number of records that were appended, from the first on. May be NULL if
///   the records have at most 1 MiB (each counts 8 bytes and its payload); otherwise
///   STYX_E_INVALID_ARGUMENT, because the caller could not know what to append again.
///
/// Up to 1 MiB of records are atomic: all of them are appended, or none. More are split into parts
/// of at most 1 MiB, each of them atomic. STYX_E_WOULD_BLOCK if there was not enough room for all:
/// `accepted` says how many were appended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_append_packed(
    producer: *const styx_producer,
    data: *const u8,
    size: usize,
    ends: *const u32,
    count: usize,
    accepted: *mut usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (producer, payloads, ends) = unsafe {
            store(accepted, 0);
            (object(producer, "producer")?, bytes(data, size)?, array(ends, count, "ends")?)
        };
        producer.home.check()?;
        // Without room, the records are not encoded in vain.
        if count > 0 && !producer.core.wait_room(Duration::ZERO) {
            return Err(Error::would_block(
                "in_flight_bytes are used up: wait with styx_producer_wait_room()",
            ));
        }
        let mut encoded = Encoded::new();
        encoded.extend_packed(payloads, ends)?;
        if accepted.is_null() && encoded.bytes() > ATOMIC_BYTES_MAX {
            return Err(Error::invalid_argument(
                "accepted is NULL: it is needed for more than 1 MiB of records",
            ));
        }
        let appended = producer.core.try_append_encoded(&mut encoded);
        // SAFETY: the caller's promise.
        unsafe { store(accepted, count - encoded.len()) };
        appended.map(drop)
    })
}

/// Waits until an append would not fail with STYX_E_WOULD_BLOCK, at most timeout_ms; forever if it
/// is negative. Returns whether that is the case. Also true if the producer has ended, because
/// the append fails at once then. Another thread may use the room first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_wait_room(
    producer: *const styx_producer,
    timeout_ms: i64,
) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        let Ok(producer) = (unsafe { object(producer, "") }) else { return true };
        let deadline = Deadline::after(timeout_ms);
        loop {
            if producer.core.wait_room(deadline.left()) {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
        }
    })
}

/// Appends a record and waits until it is durable, at most timeout_ms; forever if it is negative.
///
/// position: receives its position in the log. May be NULL.
///
/// STYX_E_TIMED_OUT after timeout_ms. The record may become durable later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_send(
    producer: *const styx_producer,
    data: *const u8,
    size: usize,
    timeout_ms: i64,
    position: *mut u64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (producer, payload) = unsafe { (object(producer, "producer")?, bytes(data, size)?) };
        let deadline = Deadline::after(timeout_ms);
        let ack = loop {
            match producer.core.try_append(payload) {
                Ok(ack) => break ack,
                Err(error) if error.kind() == Kind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if !producer.core.wait_room(deadline.left()) && deadline.has_passed() {
                return Err(Error::timed_out("there was no room for the record in the given time"));
            }
        };
        let at = deadline.wait("send", ack.position())?;
        // SAFETY: the caller's promise.
        unsafe { store(position, at) };
        Ok(())
    })
}

/// Waits until everything that was appended before is durable, at most timeout_ms; forever if it
/// is negative. Fails with the first failure that styx_producer_send() has not returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_flush(
    producer: *const styx_producer,
    timeout_ms: i64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let producer = unsafe { object(producer, "producer") }?;
        Deadline::after(timeout_ms).wait("flush", producer.core.flush())
    })
}

/// Waits until everything is durable, and closes the producer. Records that are not durable after
/// timeout_ms are lost; a negative timeout_ms stands for the option "close_timeout". Fails as
/// styx_producer_flush(). Closing again has no effect. The producer must still be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_close(
    producer: *const styx_producer,
    timeout_ms: i64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let producer = unsafe { object(producer, "producer") }?;
        match u64::try_from(timeout_ms) {
            Ok(within) => wait(producer.core.close_within(Duration::from_millis(within))),
            Err(_) => wait(producer.core.close()),
        }
    })
}

/// Takes outcomes of records, in the order of their sequences: up to `capacity` of them. Never
/// waits. Needs the option "track_settled" = "true"; without it STYX_E_INVALID_ARGUMENT. With it,
/// take them regularly: while 65,536 were not taken, appends would block.
///
/// acks, capacity, size: receive the outcomes; size is sizeof(styx_ack). Each error in them belongs
///   to the caller.
/// count: receives their number; 0 if there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_acks(
    producer: *const styx_producer,
    acks: *mut styx_ack,
    capacity: usize,
    size: usize,
    count: *mut usize,
) -> *mut styx_error {
    fallible(|| {
        check_out(count, "count")?;
        // SAFETY: the caller's promise.
        let producer = unsafe { object(producer, "producer") }?;
        producer.home.check()?;
        let Some(waiting) = &producer.acks else {
            return Err(Error::invalid_argument(
                "open the producer with the option track_settled = true",
            ));
        };
        if capacity > 0 && size < size_of::<styx_ack>() {
            return Err(Error::invalid_argument(format!(
                "size is {size}, which is less than any version of styx_ack has: pass sizeof"
            )));
        }
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // First the signal is taken away, then the outcomes: one that comes in between raises it
        // again.
        let mut completions = Vec::new();
        let _ = producer.queue.drain(1, &mut completions);
        let mut settled = Vec::new();
        producer.core.take_settled(&mut settled);
        waiting.extend(settled);
        // SAFETY: the caller's promise.
        let mut places = unsafe { space(acks, capacity, size) };
        let taken = waiting.len().min(places.len());
        for (index, block) in waiting.drain(..taken).enumerate() {
            places.store(index, ack(block));
        }
        if !waiting.is_empty() {
            producer.source.ready();
        }
        // SAFETY: the caller's promise.
        unsafe { store(count, taken) };
        Ok(())
    })
}

fn ack(block: Settled) -> styx_ack {
    let (first_sequence, count) = (block.first_sequence, block.count);
    match &block.result {
        Ok(position) => {
            styx_ack { first_sequence, count, position: *position, error: std::ptr::null_mut() }
        }
        Err(error) => {
            // The caller knows now: flush and close do not say it again.
            block.mark_reported();
            let error = styx_error::give(error.clone());
            styx_ack { first_sequence, count, position: 0, error }
        }
    }
}

/// A descriptor that is readable while styx_producer_acks() has outcomes, and when there is room
/// again. It is for level-triggered watching, with poll() or epoll. Never read from it or close it.
/// It is valid until the producer is freed. Call styx_producer_acks(), with any capacity, to make
/// it unreadable; without "track_settled" call styx_producer_seen(). -1 if the producer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_fd(producer: *const styx_producer) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise.
        unsafe { object(producer, "") }.map_or(-1, |p| p.queue.as_fd().as_raw_fd())
    })
}

/// Makes the descriptor unreadable until something new happens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_seen(producer: *const styx_producer) {
    infallible((), || {
        // SAFETY: the caller's promise.
        if let Ok(producer) = unsafe { object(producer, "") } {
            let mut completions = Vec::new();
            let _ = producer.queue.drain(1, &mut completions);
        }
    });
}

/// The number of the next record in this producer. Right after opening with a "producer_id", it
/// says with which record an import continues. 0 if the producer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_next_sequence(producer: *const styx_producer) -> u64 {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(producer, "") }.map_or(0, |p| p.core.next_sequence()))
}

/// The number before which every record is durable. 0 if the producer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_durable_sequence(producer: *const styx_producer) -> u64 {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(producer, "") }.map_or(0, |p| p.core.durable_sequence()))
}

/// Stores the id and epoch of an idempotent producer, and returns whether it is one. Both pointers
/// may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_identity(
    producer: *const styx_producer,
    id: *mut u64,
    epoch: *mut u32,
) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        let Ok(producer) = (unsafe { object(producer, "") }) else { return false };
        let identity = producer.core.producer_id().zip(producer.core.epoch());
        if let Some((own_id, own_epoch)) = identity {
            // SAFETY: the caller's promises.
            unsafe {
                store(id, own_id);
                store(epoch, own_epoch);
            }
        }
        identity.is_some()
    })
}

/// Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
/// characters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_log_id(
    producer: *const styx_producer,
    log_id: *mut [c_char; 40],
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe {
            let producer = object(producer, "producer")?;
            producer.home.check()?;
            store(log_id, fixed(&producer.core.log_id().to_string()));
        }
        Ok(())
    })
}

/// The numbers of the producer. Waits for nothing. `size` is sizeof(styx_producer_stats_t).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_stats(
    producer: *const styx_producer,
    stats: *mut styx_producer_stats_t,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let producer = unsafe { object(producer, "producer") }?;
        producer.home.check()?;
        let core = producer.core.stats();
        let value = styx_producer_stats_t {
            acked_records: core.acked_records,
            acked_bytes: core.acked_bytes,
            acked_blocks: core.acked_blocks,
            failed_records: core.failed_records,
            in_flight_records: core.in_flight_records,
            in_flight_bytes: core.in_flight_bytes,
            buffered_bytes: core.buffered_bytes,
            resent_blocks: core.resent_blocks,
            reconnects: core.reconnects,
            is_connected: u64::from(core.is_connected),
            since_last_ack_ms: milliseconds(core.since_last_ack),
            since_last_heard_ms: milliseconds(core.since_last_heard),
        };
        // SAFETY: the caller's promise.
        unsafe { store_sized(stats, size, value) };
        Ok(())
    })
}

/// Frees a producer. Records that are not durable are lost: close it before. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_producer_free(producer: *mut styx_producer) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(producer) }));
}
