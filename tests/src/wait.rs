//! Waits for a condition instead of sleeping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Calls `ask` until it returns a value.
///
/// # Panics
/// When it returns none within `limit`. The message contains `what`.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?}, but this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Calls `ask` until it returns `true`.
///
/// # Panics
/// As there.
pub fn until_true(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    until(what, limit, || ask().then_some(()));
}

/// Sets a flag when it is dropped, even by a panic, so that threads that watch the
/// flag always end.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
