//! Detects forked children without a system call, for [`styx_producer_append`] and others that
//! take a few nanoseconds. The core asks for the process id, but at an append only now and then.
//!
//! [`styx_producer_append`]: crate::producer::styx_producer_append

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use ::styx_client::{Client, Error};

/// How often this process, or a process that it descends from, was forked into it.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that has made an object.
pub(crate) struct Home {
    client: Client,
    forks: u32,
}

impl Home {
    pub(crate) fn of(client: &Client) -> Home {
        static COUNTED: Once = Once::new();
        COUNTED.call_once(|| {
            // SAFETY: the handler only changes an atomic. If it cannot be registered, the core
            // still checks.
            let _ = unsafe { pthread_atfork(None, None, Some(count)) };
        });
        Home { client: client.clone(), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// # Errors
    /// `forked` in a forked child. Takes no lock.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.forks == FORKS.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.client.check_process()
    }
}

extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

type Handler = Option<extern "C" fn()>;

unsafe extern "C" {
    fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
}
