//! Cursors: positions that the server keeps under a name.

use std::ffi::c_char;

use ::styx_client::CursorInfo;

use crate::client::styx_client;
use crate::error::{fallible, infallible, styx_error, wait};
use crate::pointer::{check_out, fixed, give, object, store, store_sized, take_back, text};

/// A cursor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_cursor_info {
    /// The position of the next record to read.
    pub position: u64,
    /// When the cursor was last changed, in µs since 1970-01-01 UTC.
    pub updated: u64,
    /// The number of the last change.
    pub version: u64,
    /// The name, which ends with NUL.
    pub cursor: [c_char; 256],
    /// The id of the log that the position belongs to, as 32 hexadecimal digits.
    pub log_id: [c_char; 40],
}

/// A list of cursors, ordered by name. Any number of threads may use it.
pub struct styx_cursor_list {
    cursors: Vec<styx_cursor_info>,
}

impl styx_cursor_info {
    fn of(info: &CursorInfo) -> styx_cursor_info {
        styx_cursor_info {
            position: info.position,
            updated: info.updated,
            version: info.version,
            cursor: fixed(&info.cursor),
            log_id: fixed(&info.log_id.to_string()),
        }
    }
}

/// Lists the cursors of a log. Free the list with styx_cursor_list_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_list_cursors(
    client: *const styx_client,
    log: *const c_char,
    list: *mut *mut styx_cursor_list,
) -> *mut styx_error {
    fallible(|| {
        check_out(list, "list")?;
        // SAFETY: the caller's promises.
        let (client, log) = unsafe { (object(client, "client")?, text(log, "log")?) };
        let cursors = wait(client.core.list_cursors(log))?;
        let cursors = cursors.iter().map(styx_cursor_info::of).collect();
        // SAFETY: the caller's promise.
        unsafe { store(list, give(styx_cursor_list { cursors })) };
        Ok(())
    })
}

/// The number of cursors in a list; 0 if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_cursor_list_len(list: *const styx_cursor_list) -> usize {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(list, "") }.map_or(0, |list| list.cursors.len()))
}

/// Stores one cursor of a list, and returns whether there is one at this index. `size` is
/// sizeof(styx_cursor_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_cursor_list_get(
    list: *const styx_cursor_list,
    index: usize,
    info: *mut styx_cursor_info,
    size: usize,
) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        let Ok(list) = (unsafe { object(list, "") }) else { return false };
        let Some(cursor) = list.cursors.get(index) else { return false };
        // SAFETY: the caller's promise.
        unsafe { store_sized(info, size, *cursor) };
        true
    })
}

/// Frees a list. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_cursor_list_free(list: *mut styx_cursor_list) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(list) }));
}

/// A cursor, or STYX_E_CURSOR_NOT_FOUND. `size` is sizeof(styx_cursor_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_get_cursor(
    client: *const styx_client,
    log: *const c_char,
    cursor: *const c_char,
    info: *mut styx_cursor_info,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (client, log, cursor) =
            unsafe { (object(client, "client")?, text(log, "log")?, text(cursor, "cursor")?) };
        let found = wait(client.core.get_cursor(log, cursor))?;
        // SAFETY: the caller's promise.
        unsafe { store_sized(info, size, styx_cursor_info::of(&found)) };
        Ok(())
    })
}

/// Creates a cursor, or moves it. A consumer that uses it then fails with STYX_E_CURSOR_TAKEN at
/// its next commit. `info` may be NULL; `size` is sizeof(styx_cursor_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_set_cursor(
    client: *const styx_client,
    log: *const c_char,
    cursor: *const c_char,
    position: u64,
    info: *mut styx_cursor_info,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (client, log, cursor) =
            unsafe { (object(client, "client")?, text(log, "log")?, text(cursor, "cursor")?) };
        let set = wait(client.core.set_cursor(log, cursor, position))?;
        // SAFETY: the caller's promise.
        unsafe { store_sized(info, size, styx_cursor_info::of(&set)) };
        Ok(())
    })
}

/// Deletes a cursor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_delete_cursor(
    client: *const styx_client,
    log: *const c_char,
    cursor: *const c_char,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (client, log, cursor) =
            unsafe { (object(client, "client")?, text(log, "log")?, text(cursor, "cursor")?) };
        wait(client.core.delete_cursor(log, cursor))
    })
}
