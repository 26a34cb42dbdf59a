//! Versions.

use std::ffi::c_char;

/// The version of the interface in this header. It changes when a program that was compiled with
/// an older header no longer runs with a newer library. Compare it with styx_abi_version().
pub const STYX_ABI_VERSION: u32 = 1;

/// The version of the library, such as "1.0.0". Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn styx_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The STYX_ABI_VERSION that the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn styx_abi_version() -> u32 {
    STYX_ABI_VERSION
}
