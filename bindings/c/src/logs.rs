//! Log management.

use std::ffi::c_char;

use ::styx_client::{Client, Error, LogConfig, LogDetails, LogInfo};

use crate::client::styx_client;
use crate::error::{fallible, infallible, styx_error, wait};
use crate::pointer::{
    check_out, fixed, give, load_sized, object, store, store_sized, take_back, text,
};

/// The limits of a log: sizes in bytes, ages in seconds, -1 for no limit.
/// styx_log_config_default() has the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_log_config {
    /// The largest record: payload plus 8.
    pub max_record_size: i64,
    /// Bytes of a segment between two entries of its index.
    pub index_after_size: i64,
    /// Records, bytes and seconds after which a segment ends.
    pub segment_max_count: i64,
    pub segment_max_size: i64,
    pub segment_max_age: i64,
    /// Records, bytes and seconds to keep.
    pub log_max_count: i64,
    pub log_max_size: i64,
    pub log_max_age: i64,
}

/// Information about a log.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_log_info {
    pub record_count: u64,
    /// Bytes of these records: payloads plus 8 bytes each.
    pub file_size: u64,
    /// The position of the first record that the log still has.
    pub start_position: u64,
    /// The position of the next record to be appended.
    pub end_position: u64,
    /// The name, which ends with NUL.
    pub name: [c_char; 256],
    /// Whether the log can be used: "ok", "corrupt" and so on.
    pub status: [c_char; 32],
}

/// More about a log, beside its information and its limits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_log_details {
    /// When the first record that the log still has was appended, and the last one, in µs since
    /// 1970-01-01 UTC. 0 if the log has no record.
    pub timestamp_first: u64,
    pub timestamp_last: u64,
    /// The id of the log, as 32 hexadecimal digits. It changes when the log is created, restored
    /// or truncated.
    pub log_id: [c_char; 40],
    /// Records before this position are also in the archive of the server. UINT64_MAX if it has no
    /// archive.
    pub archived_position: u64,
}

/// A list of logs, ordered by name. Any number of threads may use it.
pub struct styx_log_list {
    logs: Vec<styx_log_info>,
}

impl styx_log_config {
    fn of(config: &LogConfig) -> styx_log_config {
        styx_log_config {
            max_record_size: config.max_record_size,
            index_after_size: config.index_after_size,
            segment_max_count: config.segment_max_count,
            segment_max_size: config.segment_max_size,
            segment_max_age: config.segment_max_age,
            log_max_count: config.log_max_count,
            log_max_size: config.log_max_size,
            log_max_age: config.log_max_age,
        }
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            max_record_size: self.max_record_size,
            index_after_size: self.index_after_size,
            segment_max_count: self.segment_max_count,
            segment_max_size: self.segment_max_size,
            segment_max_age: self.segment_max_age,
            log_max_count: self.log_max_count,
            log_max_size: self.log_max_size,
            log_max_age: self.log_max_age,
        }
    }
}

impl styx_log_info {
    fn of(info: &LogInfo) -> styx_log_info {
        styx_log_info {
            record_count: info.record_count,
            file_size: info.file_size,
            start_position: info.start_position,
            end_position: info.end_position,
            name: fixed(&info.name),
            status: fixed(&info.status.to_string()),
        }
    }
}

impl styx_log_details {
    fn of(details: &LogDetails) -> styx_log_details {
        styx_log_details {
            timestamp_first: details.timestamp_first_us.unwrap_or(0),
            timestamp_last: details.timestamp_last_us.unwrap_or(0),
            log_id: fixed(&details.id.to_string()),
            archived_position: details.archived_position.unwrap_or(u64::MAX),
        }
    }
}

/// Runs a call about one log.
///
/// # Safety
/// As the functions that use it.
unsafe fn about<T>(
    client: *const styx_client,
    name: *const c_char,
    call: impl FnOnce(&Client, &str) -> Result<T, Error>,
) -> Result<T, Error> {
    // SAFETY: the caller's promises.
    let (client, name) = unsafe { (object(client, "client")?, text(name, "name")?) };
    call(&client.core, name)
}

/// The same, and stores the information that it returns.
///
/// # Safety
/// As the functions that use it.
unsafe fn informed(
    client: *const styx_client,
    name: *const c_char,
    info: *mut styx_log_info,
    size: usize,
    call: impl FnOnce(&Client, &str) -> Result<LogInfo, Error>,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe { store_sized(info, size, styx_log_info::of(&about(client, name, call)?)) };
        Ok(())
    })
}

/// Stores the default limits. `size` is sizeof(styx_log_config).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_log_config_default(config: *mut styx_log_config, size: usize) {
    let defaults = styx_log_config::of(&LogConfig::default());
    // SAFETY: the caller's promise.
    infallible((), || unsafe { store_sized(config, size, defaults) });
}

/// Creates a log.
///
/// name: 1 to 255 of A-Z a-z 0-9 _ -.
/// config: the limits, config_size bytes of them: sizeof(styx_log_config). NULL for the defaults.
/// exist_ok: if the log exists, succeed, whatever its limits are. Otherwise STYX_E_LOG_EXIST.
/// info: receives the information, info_size bytes of it: sizeof(styx_log_info). May be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_create_log(
    client: *const styx_client,
    name: *const c_char,
    config: *const styx_log_config,
    config_size: usize,
    exist_ok: bool,
    info: *mut styx_log_info,
    info_size: usize,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    unsafe {
        informed(client, name, info, info_size, |core, name| {
            let defaults = styx_log_config::of(&LogConfig::default());
            let config = load_sized(config, config_size, defaults, "config")?;
            wait(core.create_log(name, config.config(), exist_ok))
        })
    }
}

/// Lists all logs. Free the list with styx_log_list_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_list_logs(
    client: *const styx_client,
    list: *mut *mut styx_log_list,
) -> *mut styx_error {
    fallible(|| {
        check_out(list, "list")?;
        // SAFETY: the caller's promise.
        let client = unsafe { object(client, "client") }?;
        let logs = wait(client.core.list_logs())?;
        let logs = logs.iter().map(styx_log_info::of).collect();
        // SAFETY: the caller's promise.
        unsafe { store(list, give(styx_log_list { logs })) };
        Ok(())
    })
}

/// The number of logs in a list; 0 if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_log_list_len(list: *const styx_log_list) -> usize {
    // SAFETY: the caller's promise.
    infallible(0, || unsafe { object(list, "") }.map_or(0, |list| list.logs.len()))
}

/// Stores one log of a list, and returns whether there is one at this index. `size` is
/// sizeof(styx_log_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_log_list_get(
    list: *const styx_log_list,
    index: usize,
    info: *mut styx_log_info,
    size: usize,
) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise.
        let Ok(list) = (unsafe { object(list, "") }) else { return false };
        let Some(log) = list.logs.get(index) else { return false };
        // SAFETY: the caller's promise.
        unsafe { store_sized(info, size, *log) };
        true
    })
}

/// Frees a list. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_log_list_free(list: *mut styx_log_list) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(list) }));
}

/// Information about a log, or STYX_E_LOG_NOT_FOUND. `size` is sizeof(styx_log_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_get_log(
    client: *const styx_client,
    name: *const c_char,
    info: *mut styx_log_info,
    size: usize,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    unsafe { informed(client, name, info, size, |core, name| wait(core.get_log(name))) }
}

/// Everything about a log: its information, its limits, and its id and times. Each of the structs
/// may be NULL, and is followed by its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_get_log_details(
    client: *const styx_client,
    name: *const c_char,
    info: *mut styx_log_info,
    info_size: usize,
    config: *mut styx_log_config,
    config_size: usize,
    details: *mut styx_log_details,
    details_size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        unsafe {
            let log = about(client, name, |core, name| wait(core.get_log_details(name)))?;
            store_sized(info, info_size, styx_log_info::of(&log.info));
            store_sized(config, config_size, styx_log_config::of(&log.config));
            store_sized(details, details_size, styx_log_details::of(&log));
        }
        Ok(())
    })
}

/// Deletes a log with all its records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_delete_log(
    client: *const styx_client,
    name: *const c_char,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    fallible(|| unsafe { about(client, name, |core, name| wait(core.delete_log(name))) })
}

/// Removes all records of a log, which gets a new id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_truncate_log(
    client: *const styx_client,
    name: *const c_char,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    fallible(|| unsafe { about(client, name, |core, name| wait(core.truncate_log(name))) })
}

/// Removes the records before a position, as far as whole segments allow. `info` may be NULL;
/// `size` is sizeof(styx_log_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_trim_log(
    client: *const styx_client,
    name: *const c_char,
    position: u64,
    info: *mut styx_log_info,
    size: usize,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    unsafe { informed(client, name, info, size, |core, name| wait(core.trim_log(name, position))) }
}

/// Makes a log usable that has lost records: see docs/operating.md. `info` may be NULL; `size` is
/// sizeof(styx_log_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_adopt_log(
    client: *const styx_client,
    name: *const c_char,
    info: *mut styx_log_info,
    size: usize,
) -> *mut styx_error {
    // SAFETY: the caller's promises.
    unsafe { informed(client, name, info, size, |core, name| wait(core.adopt_log(name))) }
}
