//! A consumer.

use std::ffi::c_char;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ::styx_client::blocking::wait_for;
use ::styx_client::consumer::{Handle, Polled};
use ::styx_client::{Consumer, Error, Start};

use crate::batch::styx_batch;
use crate::client::styx_client;
use crate::error::{Deadline, fallible, infallible, styx_error, wait};
use crate::fork::Home;
use crate::options::styx_options;
use crate::pointer::{check_out, fixed, give, object, store, store_sized, take_back, text};
use crate::producer::no_descriptor;
use crate::stats::{milliseconds, styx_consumer_stats_t};

/// Reads the records of one log, in order. It reconnects by itself and continues at its position:
/// no record is returned twice or skipped.
///
/// Functions with a `styx_consumer *` are for one thread at a time; otherwise they fail with
/// STYX_E_INVALID_ARGUMENT. Those with a `const styx_consumer *` may be called by any thread.
///
/// To process each record exactly once, store the checkpoint with the output, in one transaction,
/// and pass it as option "start". If processing a record twice is harmless, use the option
/// "cursor" and styx_consumer_commit().
pub struct styx_consumer {
    home: Home,
    core: Mutex<Consumer>,
    handle: Handle,
    ended: AtomicBool,
    /// `styx_consumer_close` was called; it may have the lock.
    closed: AtomicBool,
}

/// Where reading continues, as a text that ends with NUL: the id of a log and a position.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_checkpoint {
    pub text: [c_char; 64],
}

impl styx_checkpoint {
    pub(crate) fn of(checkpoint: ::styx_client::Checkpoint) -> styx_checkpoint {
        styx_checkpoint { text: fixed(&checkpoint.to_string()) }
    }
}

impl styx_consumer {
    /// The consumer, for one thread.
    fn lock(&self) -> Result<MutexGuard<'_, Consumer>, Error> {
        self.home.check()?;
        match self.core.try_lock() {
            Ok(core) => Ok(core),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if self.closed.load(Ordering::SeqCst) => {
                Err(Error::closed("consumer"))
            }
            Err(TryLockError::WouldBlock) => Err(Error::invalid_argument(
                "another thread uses this consumer: only functions with a const styx_consumer * \
                 may be called meanwhile",
            )),
        }
    }
}

/// Opens a consumer. Blocks up to the client's option "timeout".
///
/// options: of a consumer, such as "start" and "follow"; NULL for none. The function copies them.
/// consumer: receives the consumer. Free it with styx_consumer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_open(
    client: *const styx_client,
    log: *const c_char,
    options: *const styx_options,
    consumer: *mut *mut styx_consumer,
) -> *mut styx_error {
    fallible(|| {
        check_out(consumer, "consumer")?;
        // SAFETY: the caller's promises.
        let (client, log) = unsafe { (object(client, "client")?, text(log, "log")?) };
        let mut builder = client.core.consumer(log);
        // SAFETY: the caller's promise.
        for (key, value) in unsafe { styx_options::pairs(options) } {
            builder = builder.set(&key, &value)?;
        }
        let core = wait(builder.open())?;
        let handle = core.handle();
        let home = Home::of(&client.core);
        let opened = styx_consumer {
            home,
            core: Mutex::new(core),
            handle,
            ended: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        // SAFETY: the caller's promise.
        unsafe { store(consumer, give(opened)) };
        Ok(())
    })
}

/// Waits for records, at most timeout_ms; forever if it is negative, not at all if it is 0.
///
/// max_records: the most records that the batch may have; 0 for no limit.
/// batch: receives the batch, which belongs to the caller: free it with styx_batch_free(). NULL if
///   there is none: the time has passed, styx_consumer_wakeup() was called, or the read has ended,
///   which styx_consumer_ended() tells.
///
/// An error is returned again by every later call, until styx_consumer_seek(): STYX_E_LOG_CHANGED
/// and STYX_E_LOG_END_REGRESSED if the log was replaced or has lost records, STYX_E_OUT_OF_RANGE if
/// retention has removed records that were not read, STYX_E_CORRUPT_RECORD, STYX_E_TIMED_OUT if
/// there was no connection for the whole option "deadline", STYX_E_LOG_NOT_FOUND after the log was
/// deleted. STYX_E_CLOSED after styx_consumer_close().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_poll(
    consumer: *mut styx_consumer,
    max_records: usize,
    timeout_ms: i64,
    batch: *mut *mut styx_batch,
) -> *mut styx_error {
    fallible(|| {
        check_out(batch, "batch")?;
        // SAFETY: the caller's promises.
        let consumer = unsafe {
            store(batch, std::ptr::null_mut());
            object(consumer, "consumer")?
        };
        let mut core = consumer.lock()?;
        let polled = if timeout_ms == 0 {
            core.try_next_batch()?
        } else {
            poll(&mut core, Deadline::after(timeout_ms))?
        };
        match polled {
            Polled::Nothing => {}
            Polled::End => consumer.ended.store(true, Ordering::Relaxed),
            Polled::Batch(records) => {
                let length = records.len();
                let part = if max_records > 0 && max_records < length {
                    // The descriptor stays readable: the core has the rest again.
                    core.give_back(records.slice(max_records..length))?;
                    records.slice(0..max_records)
                } else {
                    records
                };
                // SAFETY: the caller's promise.
                unsafe { store(batch, styx_batch::give(part)) };
            }
        }
        Ok(())
    })
}

/// Waits until there is something, until a wake-up, or until the deadline.
fn poll(core: &mut Consumer, deadline: Deadline) -> Result<Polled, Error> {
    let mut polling = pin!(core.poll());
    loop {
        if let Some(polled) = wait_for(polling.as_mut(), deadline.left()) {
            return polled;
        }
        if deadline.has_passed() {
            return Ok(Polled::Nothing);
        }
    }
}

/// Whether the read has ended: there will be no more records. False if the consumer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_ended(consumer: *const styx_consumer) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        unsafe { object(consumer, "") }.is_ok_and(|c| c.ended.load(Ordering::Relaxed))
    })
}

/// A descriptor that is readable exactly while styx_consumer_poll() would not wait. It is for
/// level-triggered watching, with poll() or epoll. Never read from it or close it. It is valid
/// until the consumer is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_fd(
    consumer: *mut styx_consumer,
    fd: *mut i32,
) -> *mut styx_error {
    fallible(|| {
        check_out(fd, "fd")?;
        // SAFETY: the caller's promise.
        let consumer = unsafe { object(consumer, "consumer") }?;
        let core = consumer.lock()?;
        let descriptor = core.descriptor().map_err(no_descriptor)?;
        // SAFETY: the caller's promise.
        unsafe { store(fd, descriptor.as_raw_fd()) };
        Ok(())
    })
}

/// Makes a waiting styx_consumer_poll() return without a batch; if none is waiting, the next one
/// that would wait. Several wake-ups before that count as one. A signal handler may call it: it
/// takes no lock, allocates nothing and never waits. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_wakeup(consumer: *const styx_consumer) {
    // SAFETY: the caller's promise.
    if let Some(consumer) = unsafe { consumer.as_ref() } {
        consumer.handle.wakeup();
    }
}

/// Continues at another place: what the option "start" allows, such as "end", "42" or a
/// checkpoint. Waits until that has happened. Batches that were received are dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_seek(
    consumer: *mut styx_consumer,
    start: *const c_char,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (consumer, start) = unsafe { (object(consumer, "consumer")?, text(start, "start")?) };
        let start = start.parse::<Start>()?;
        let mut core = consumer.lock()?;
        consumer.ended.store(false, Ordering::Relaxed);
        wait(core.seek(start))
    })
}

/// The position of the next record. 0 if the consumer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_position(consumer: *const styx_consumer) -> u64 {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(consumer, "") }.map_or(0, |c| c.handle.position()))
}

/// The number of records between the position and the end of the log, as far as known. 0 if the
/// consumer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_lag(consumer: *const styx_consumer) -> u64 {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(consumer, "") }.map_or(0, |c| c.handle.lag()))
}

/// Whether the consumer has returned everything that the log had when the server last said so.
/// False if the consumer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_caught_up(consumer: *const styx_consumer) -> bool {
    // SAFETY: the caller's promise.
    infallible(false, || unsafe { object(consumer, "") }.is_ok_and(|c| c.handle.caught_up()))
}

/// Where to continue after the last record that was returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_checkpoint(
    consumer: *mut styx_consumer,
    checkpoint: *mut styx_checkpoint,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let consumer = unsafe { object(consumer, "consumer") }?;
        let value = styx_checkpoint::of(consumer.lock()?.checkpoint());
        // SAFETY: the caller's promise.
        unsafe { store(checkpoint, value) };
        Ok(())
    })
}

/// Stores the position behind the last record that was returned in the cursor, and waits until it
/// is durable, at most timeout_ms; forever if it is negative. Needs the option "cursor".
///
/// position: receives the stored position. May be NULL.
///
/// STYX_E_CURSOR_TAKEN if another consumer has taken the cursor over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_commit(
    consumer: *mut styx_consumer,
    timeout_ms: i64,
    position: *mut u64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let consumer = unsafe { object(consumer, "consumer") }?;
        let commit = consumer.lock()?.commit()?;
        let stored = Deadline::after(timeout_ms).wait("commit", commit.position())?;
        // SAFETY: the caller's promise.
        unsafe { store(position, stored) };
        Ok(())
    })
}

/// Stores the id of the log: 32 hexadecimal digits and a NUL, in an array of at least 40
/// characters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_log_id(
    consumer: *mut styx_consumer,
    log_id: *mut [c_char; 40],
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let consumer = unsafe { object(consumer, "consumer") }?;
        let id = consumer.lock()?.log_id();
        // SAFETY: the caller's promise.
        unsafe { store(log_id, fixed(&id.to_string())) };
        Ok(())
    })
}

/// The numbers of the consumer. Waits for nothing. `size` is sizeof(styx_consumer_stats_t).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_stats(
    consumer: *mut styx_consumer,
    stats: *mut styx_consumer_stats_t,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let core = unsafe { object(consumer, "consumer") }?.lock()?.stats();
        let value = styx_consumer_stats_t {
            received_records: core.received_records,
            received_bytes: core.received_bytes,
            received_batches: core.received_batches,
            buffered_bytes: core.buffered_bytes,
            reconnects: core.reconnects,
            is_connected: u64::from(core.is_connected),
            since_last_heard_ms: milliseconds(core.since_last_heard),
        };
        // SAFETY: the caller's promise.
        unsafe { store_sized(stats, size, value) };
        Ok(())
    })
}

/// Closes a consumer, from any thread: a waiting styx_consumer_poll() fails with STYX_E_CLOSED, and
/// so does every later call. Waits for a commit that is under way. Closing again has no effect. The
/// consumer must still be freed. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_close(consumer: *const styx_consumer) {
    infallible((), || {
        // SAFETY: the caller's promise.
        let Ok(consumer) = (unsafe { object(consumer, "") }) else { return };
        // The thread that holds the lock may not exist in a forked child.
        if consumer.home.check().is_err() {
            return;
        }
        consumer.closed.store(true, Ordering::SeqCst);
        consumer.handle.close();
        // Another thread has it only until its call has noticed.
        let mut core = consumer.core.lock().unwrap_or_else(PoisonError::into_inner);
        let closing = async {
            core.close().await;
            Ok(())
        };
        let _ = wait(closing);
    });
}

/// Frees a consumer. Its batches stay valid. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_consumer_free(consumer: *mut styx_consumer) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(consumer) }));
}
