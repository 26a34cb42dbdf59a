//! Events of connections, which the caller takes on its own thread.

use std::ffi::{CString, c_char, c_void};

use ::styx_client::events::{Event, EventKind, Subject};

use crate::client::styx_client;
use crate::error::{fallible, styx_error};
use crate::pointer::object;

/// The kind of an event of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum styx_event_kind {
    /// A connection was opened.
    STYX_EVENT_CONNECTED = 1,
    /// A connection broke: `error` says why.
    STYX_EVENT_LOST = 2,
    /// The next attempt follows after `wait_ms`.
    STYX_EVENT_AGAIN = 3,
    /// The record at `position` is damaged.
    STYX_EVENT_DAMAGED = 4,
    /// It ended: a producer was closed or freed, a consumer has read everything, or the error before
    /// this event cannot be retried. A consumer that the program closes has no such event.
    STYX_EVENT_CLOSED = 5,
    /// Something that this version of the library does not name.
    STYX_EVENT_OTHER = 6,
}

/// The kind of object that an event is about.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum styx_event_subject {
    STYX_OF_CLIENT = 1,
    STYX_OF_PRODUCER = 2,
    STYX_OF_CONSUMER = 3,
}

/// An event. It is valid during the callback.
#[repr(C)]
pub struct styx_event {
    pub kind: styx_event_kind,
    pub subject: styx_event_subject,
    /// The name of the log; "" if the event is about no log.
    pub log: *const c_char,
    /// Why a connection broke; otherwise NULL. The callback must not free it.
    pub error: *const styx_error,
    /// Milliseconds until the next attempt.
    pub wait_ms: u64,
    /// The position of a damaged record.
    pub position: u64,
}

/// Receives events. It must not throw, longjmp() or call styx_client_take_events().
pub type styx_event_callback =
    Option<unsafe extern "C" fn(event: *const styx_event, user_data: *mut c_void)>;

/// Calls the callback for each event that has happened since the last call, in order, on this
/// thread. Never waits. Call it now and then, for example after styx_consumer_poll(): the library
/// keeps a limited number of events. Stores how many were lost in `lost`, which may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_take_events(
    client: *const styx_client,
    callback: styx_event_callback,
    user_data: *mut c_void,
    lost: *mut u64,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let client = unsafe { object(client, "client") }?;
        client.core.check_process()?;
        let mut events = Vec::new();
        let count = client.core.take_events(&mut events);
        // SAFETY: the caller's promise.
        unsafe { crate::pointer::store(lost, count) };
        if let Some(callback) = callback {
            // SAFETY: the caller's promise: the callback may be called with `user_data`.
            events.iter().for_each(|event| unsafe { tell(event, callback, user_data) });
        }
        Ok(())
    })
}

/// # Safety
/// The callback may be called with `user_data`.
unsafe fn tell(
    event: &Event,
    callback: unsafe extern "C" fn(*const styx_event, *mut c_void),
    user_data: *mut c_void,
) {
    let log = CString::new(event.log.as_str()).unwrap_or_default();
    let mut error = None;
    let (mut wait_ms, mut at) = (0, 0);
    let kind = match &event.kind {
        EventKind::Connected => styx_event_kind::STYX_EVENT_CONNECTED,
        EventKind::Lost(reason) => {
            error = Some(styx_error::new(reason.clone()));
            styx_event_kind::STYX_EVENT_LOST
        }
        EventKind::Again { wait } => {
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            styx_event_kind::STYX_EVENT_AGAIN
        }
        EventKind::Damaged { position } => {
            at = *position;
            styx_event_kind::STYX_EVENT_DAMAGED
        }
        EventKind::Closed => styx_event_kind::STYX_EVENT_CLOSED,
        _ => styx_event_kind::STYX_EVENT_OTHER,
    };
    let subject = match event.subject {
        Subject::Producer => styx_event_subject::STYX_OF_PRODUCER,
        Subject::Consumer => styx_event_subject::STYX_OF_CONSUMER,
        _ => styx_event_subject::STYX_OF_CLIENT,
    };
    let told = styx_event {
        kind,
        subject,
        log: log.as_ptr(),
        error: error.as_ref().map_or(std::ptr::null(), |error| error as *const styx_error),
        wait_ms,
        position: at,
    };
    // SAFETY: the caller's promise.
    unsafe { callback(&raw const told, user_data) };
}
