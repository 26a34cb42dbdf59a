//! A client.

use std::ffi::{CString, c_char};

use ::styx_client::Client;

use crate::error::{fallible, infallible, styx_error, wait};
use crate::options::styx_options;
use crate::pointer::{check_out, give, object, store, store_sized, take_back, text};
use crate::stats::{milliseconds, styx_client_stats_t};

/// A client of one server. Any number of threads may use it at the same time.
///
/// Calls that change nothing are retried until the option "timeout". After fork(), the child must
/// not use it: every call fails with STYX_E_FORKED, and only freeing it is allowed.
pub struct styx_client {
    pub(crate) core: Client,
    address: CString,
}

/// The version and the limits of the server.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct styx_server_info {
    /// The largest record that it accepts, in bytes; 0 if it does not say.
    pub max_record_size: u64,
    /// The largest block of records that it accepts, in bytes; 0 if it does not say.
    pub max_block_size: u64,
    /// Its version.
    pub version: [c_char; 64],
}

/// Connects to a server, once: STYX_E_CONNECTION_FAILED if nobody listens. Blocks up to the option
/// "connect_timeout".
///
/// address: "styx://host:7123", "styxs://" with TLS, "http://" or "https://", or "host:port", or
///   "unix:///path" for a Unix socket. NULL for the environment variable STYX_HOST, or
///   localhost:7123.
/// options: of a client; NULL for none. The function copies them.
/// client: receives the client. Free it with styx_client_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_connect(
    address: *const c_char,
    options: *const styx_options,
    client: *mut *mut styx_client,
) -> *mut styx_error {
    fallible(|| {
        check_out(client, "client")?;
        let mut builder = Client::builder_from_env();
        if !address.is_null() {
            // SAFETY: the caller's promise.
            builder = builder.address(unsafe { text(address, "address") }?);
        }
        // SAFETY: the caller's promise.
        for (key, value) in unsafe { styx_options::pairs(options) } {
            builder = builder.set(&key, &value)?;
        }
        let core = wait(builder.connect())?;
        let address = CString::new(core.address().to_string()).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { store(client, give(styx_client { core, address })) };
        Ok(())
    })
}

/// The address of the server. Valid until the client is freed. NULL if the client is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_address(client: *const styx_client) -> *const c_char {
    infallible(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        unsafe { object(client, "") }.map_or(std::ptr::null(), |client| client.address.as_ptr())
    })
}

/// Asks the server what it is. `size` is sizeof(styx_server_info).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_check(
    client: *const styx_client,
    info: *mut styx_server_info,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let client = unsafe { object(client, "client") }?;
        let server = wait(client.core.check())?;
        let value = styx_server_info {
            max_record_size: server.max_record_size.unwrap_or(0),
            max_block_size: server.max_block_size.unwrap_or(0),
            version: crate::pointer::fixed(&server.version),
        };
        // SAFETY: the caller's promise.
        unsafe { store_sized(info, size, value) };
        Ok(())
    })
}

/// The numbers of the client. Waits for nothing. `size` is sizeof(styx_client_stats_t).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_stats(
    client: *const styx_client,
    stats: *mut styx_client_stats_t,
    size: usize,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promise.
        let client = unsafe { object(client, "client") }?;
        client.core.check_process()?;
        let core = client.core.stats();
        let value = styx_client_stats_t {
            requests: core.requests,
            retries: core.retries,
            connections: core.connections,
            failed_connections: core.failed_connections,
            open_connections: core.open_connections,
            open_streams: core.open_streams,
            since_last_heard_ms: milliseconds(core.since_last_heard),
        };
        // SAFETY: the caller's promise.
        unsafe { store_sized(stats, size, value) };
        Ok(())
    })
}

/// Frees a client. Its producers and consumers can still be used, and keep its connections. NULL
/// is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_client_free(client: *mut styx_client) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(client) }));
}
