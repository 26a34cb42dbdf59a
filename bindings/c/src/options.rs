//! Options by key and value.

use std::ffi::c_char;

use ::styx_client::Error;
use ::styx_client::options::OPTIONS;

use crate::error::{fallible, infallible, styx_error};
use crate::pointer::{give, object_mut, take_back, text};

/// Options of a client, producer or consumer. One thread at a time may use it.
///
/// docs/c.md lists all keys, with their units and defaults.
pub struct styx_options {
    pairs: Vec<(String, String)>,
}

impl styx_options {
    /// The options; none if the pointer is NULL.
    ///
    /// # Safety
    /// The pointer is NULL, or comes from `styx_options_new` and was not freed.
    pub(crate) unsafe fn pairs(options: *const styx_options) -> Vec<(String, String)> {
        // SAFETY: the caller's promise.
        unsafe { options.as_ref() }.map_or_else(Vec::new, |options| options.pairs.clone())
    }
}

/// Makes options: none is set. Free them with styx_options_free(), also after they were used.
#[unsafe(no_mangle)]
pub extern "C" fn styx_options_new() -> *mut styx_options {
    infallible(std::ptr::null_mut(), || give(styx_options { pairs: Vec::new() }))
}

/// Sets an option, such as "linger" to "5 ms", or "start" to "end-100". Setting it again replaces
/// the value. Durations have a unit (us, ms, s, min, h), sizes may have one (KiB, MiB, GiB).
///
/// Copies both texts. Fails with STYX_E_INVALID_ARGUMENT if no client, producer or consumer has
/// the option. The value is checked when the options are used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_options_set(
    options: *mut styx_options,
    key: *const c_char,
    value: *const c_char,
) -> *mut styx_error {
    fallible(|| {
        // SAFETY: the caller's promises.
        let (options, key, value) =
            unsafe { (object_mut(options, "options")?, text(key, "key")?, text(value, "value")?) };
        if !OPTIONS.iter().any(|option| option.name == key) {
            let shown: String = key.chars().take(80).collect();
            return Err(Error::invalid_argument(format!(
                "there is no option {shown}: docs/c.md lists them"
            )));
        }
        options.pairs.retain(|(other, _)| other != key);
        options.pairs.push((key.to_owned(), value.to_owned()));
        Ok(())
    })
}

/// Frees options. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn styx_options_free(options: *mut styx_options) {
    // SAFETY: the caller's promise.
    infallible((), || drop(unsafe { take_back(options) }));
}
