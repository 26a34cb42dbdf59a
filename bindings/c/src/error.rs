//! `styx_error`, and how a function of C fails.

use std::ffi::{CString, c_char};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::ptr;
use std::time::{Duration, Instant};

use ::styx_client::Error;
use ::styx_client::blocking::wait_for;

use crate::pointer::{object, store, take_back};

/// An error. Functions that can fail return one, or NULL for success. Free it with
/// styx_error_free(). It belongs to the caller, and may be used by any thread.
pub struct styx_error {
    error: Error,
    code: CString,
    message: CString,
    status: CString,
}

impl styx_error {
    /// An error for the caller.
    pub(crate) fn give(error: Error) -> *mut styx_error {
        crate::pointer::give(styx_error::new(error))
    }

    pub(crate) fn new(error: Error) -> styx_error {
        // A message has no NUL; if one did, the text before it is what C can show.
        let text = |text: &str| {
            let until = text.find('\0').unwrap_or(text.len());
            CString::new(&text.as_bytes()[..until]).unwrap_or_default()
        };
        let status = error.facts().status.map(|status| status.to_string()).unwrap_or_default();
        styx_error {
            code: text(error.code()),
            message: text(error.message()),
            status: text(&status),
            error,
        }
    }
}

/// Runs the body of a function. An error or panic becomes a `styx_error`.
pub(crate) fn fallible(body: impl FnOnce() -> Result<(), Error>) -> *mut styx_error {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ptr::null_mut(),
        Ok(Err(error)) => styx_error::give(error),
        Err(payload) => styx_error::give(Error::panicked(&*payload)),
    }
}

/// Runs the body of a function that cannot fail. A panic becomes the default value.
pub(crate) fn infallible<T>(default: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(default)
}

/// Waits for a call that has its own time limit.
pub(crate) fn wait<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut call = pin!(call);
    loop {
        if let Some(result) = wait_for(call.as_mut(), Duration::from_secs(3600)) {
            return result;
        }
    }
}

/// When a wait ends: after a number of milliseconds, or never if it is negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn after(timeout_ms: i64) -> Deadline {
        // A time that is too long for the clock means no limit.
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time that is left, at most an hour.
    pub(crate) fn left(self) -> Duration {
        let hour = Duration::from_secs(3600);
        self.0.map_or(hour, |end| end.saturating_duration_since(Instant::now()).min(hour))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|end| end <= Instant::now())
    }

    /// Waits for a call; `timed_out` at the deadline, and the call is cancelled.
    pub(crate) fn wait<T>(
        self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut call = pin!(call);
        loop {
            if let Some(result) = wait_for(call.as_mut(), self.left()) {
                return result;
            }
            if self.has_passed() {
                return Err(Error::unfinished(format!("{what} did not finish in the given time")));
            }
        }
    }
}

/// The number of the error: one of STYX_E_…, or 0 if the error is NULL. The numbers are the same
/// in every version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_code(error: *const styx_error) -> u32 {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(error, "") }.map_or(0, |e| e.error.kind().number().into()))
}

/// The name of the error, such as "log_not_found", which is the same in every language and in the
/// HTTP API. "" if the error is NULL. Valid until the error is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_name(error: *const styx_error) -> *const c_char {
    // SAFETY: the caller's promise.
    infallible(EMPTY, || unsafe { object(error, "") }.map_or(EMPTY, |e| e.code.as_ptr()))
}

/// The message for people: it says what failed. "" if the error is NULL. Valid until the error is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_message(error: *const styx_error) -> *const c_char {
    // SAFETY: the caller's promise.
    infallible(EMPTY, || unsafe { object(error, "") }.map_or(EMPTY, |e| e.message.as_ptr()))
}

/// Whether the same call may succeed later. False if the error is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_retriable(error: *const styx_error) -> bool {
    // SAFETY: the caller's promise.
    infallible(false, || unsafe { object(error, "") }.is_ok_and(|e| e.error.is_retriable()))
}

/// Whether the records of the call may be in the log although it failed; for other calls, whether
/// the call may have been carried out. False if the error is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_maybe_appended(error: *const styx_error) -> bool {
    // SAFETY: the caller's promise.
    infallible(false, || unsafe { object(error, "") }.is_ok_and(|e| e.error.maybe_appended()))
}

/// A number that belongs to the error: "start_position", "end_position", "fork_position" (with
/// `log_changed`: the log was restored from the one that you know, and both are the same up to this
/// position), "position", "next_intact_position", "expected_sequence", "version",
/// "replaced_version", "count", "refused_upgrade" (the HTTP status of the answer) or
/// "retry_after_ms". Returns whether the error has it, and then stores it in `value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_fact(
    error: *const styx_error,
    name: *const c_char,
    value: *mut u64,
) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        let (error, name) = unsafe { (object(error, ""), crate::pointer::text(name, "")) };
        let (Ok(error), Ok(name)) = (error, name) else { return false };
        let facts = error.error.facts();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let fact = match name {
            "retry_after_ms" => facts.retry_after.map(milliseconds),
            name => facts.numbers().find(|(other, _)| *other == name).map(|(_, number)| number),
        };
        if let Some(fact) = fact {
            // SAFETY: the caller's promise.
            unsafe { store(value, fact) };
        }
        fact.is_some()
    })
}

/// The status of the log, such as "corrupt", if it is the reason; otherwise, and if the error is
/// NULL, "". Valid until the error is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_status(error: *const styx_error) -> *const c_char {
    // SAFETY: the caller's promise.
    infallible(EMPTY, || unsafe { object(error, "") }.map_or(EMPTY, |e| e.status.as_ptr()))
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_error_free(error: *mut styx_error) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(error) }));
}

const EMPTY: *const c_char = c"".as_ptr();
