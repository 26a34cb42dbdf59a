//! Forks, signal handlers and CPU times, for the tests of the client core in `tests/`.
//!
//! Only this package may use unsafe, because a child of a process with threads, and a
//! signal handler, may only do little. The client core itself has no unsafe.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

use styx_client::consumer::Handle;

mod gate;

pub use gate::Gate;

/// The most signals of a system, and one more.
const SIGNALS: usize = 65;

/// The handle that each signal wakes.
static HANDLES: [OnceLock<Handle>; SIGNALS] = [const { OnceLock::new() }; SIGNALS];

/// How many times the handler of each signal has run.
static HANDLED: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];

/// A forked child.
#[derive(Debug)]
pub struct Child(libc::pid_t);

/// Forks, and runs `child` in the child, which then ends with exit code 0, or 1 if
/// `child` panics. Only the calling thread exists in the child.
///
/// # Panics
/// If the system cannot fork.
#[must_use]
pub fn fork(child: impl FnOnce()) -> Child {
    // SAFETY: the child runs code that may need a lock whose holder does not exist there.
    // Then it waits, which is what the tests look for: `Child::wait` kills it.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: it ends the child without running what the parent registered for its exit.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    assert!(pid > 0, "cannot fork: {}", io::Error::last_os_error());
    Child(pid)
}

impl Child {
    /// Waits for the end of the child. Returns its exit code, or `None` if it did not end
    /// within `limit` or ended otherwise. Then it no longer exists either.
    #[must_use]
    pub fn wait(self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(50);
        loop {
            let mut status = 0;
            // SAFETY: `status` is valid, and the child of this id was not waited for yet.
            let ended = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
            if ended == self.0 {
                return libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            }
            if start.elapsed() > limit {
                // SAFETY: the child was not waited for, so its id is still its own.
                unsafe {
                    libc::kill(self.0, libc::SIGKILL);
                    libc::waitpid(self.0, &raw mut status, 0);
                }
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

/// From now on, this signal calls [`Handle::wakeup`] from its handler.
///
/// # Panics
/// If the signal already wakes another handle.
pub fn wake_on(signal: i32, handle: Handle) {
    let slot = slot_of(&HANDLES, signal);
    slot.expect("a signal").set(handle).expect("one handle for each signal");
    // SAFETY: the handler only reads a static that is set, and calls a method that is
    // documented as safe in signal handlers. All bytes of `action` may be zero.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = wake_up as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(installed, 0, "{}", io::Error::last_os_error());
}

extern "C" fn wake_up(signal: i32) {
    if let Some(handle) = slot_of(&HANDLES, signal).and_then(OnceLock::get) {
        handle.wakeup();
    }
    if let Some(handled) = slot_of(&HANDLED, signal) {
        handled.fetch_add(1, Ordering::SeqCst);
    }
}

/// How many times the handler of this signal has run.
#[must_use]
pub fn handled(signal: i32) -> u64 {
    slot_of(&HANDLED, signal).map_or(0, |handled| handled.load(Ordering::SeqCst))
}

fn slot_of<T>(slots: &'static [T; SIGNALS], signal: i32) -> Option<&'static T> {
    slots.get(usize::try_from(signal).ok()?)
}

/// Sends a signal to a thread that was not joined.
pub fn send<T>(signal: i32, thread: &std::thread::JoinHandle<T>) {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: the thread was not joined, because its handle still exists.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) };
}

/// The CPU time that all threads of this process have used so far.
#[must_use]
pub fn cpu_time() -> Duration {
    // SAFETY: `usage` is valid, and all of its bytes may be zero.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
        seconds + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// A waker that does nothing, except that cloning it stops at the gate.
#[must_use]
pub fn gated_waker(gate: &'static Gate) -> Waker {
    // SAFETY: the functions of the table keep the contract of a waker: they may be called
    // on any thread, and the data is static.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::from_ref(gate).cast(), &GATED)) }
}

static GATED: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: `data` comes from the `&'static Gate` of `gated_waker`.
        unsafe { &*data.cast::<Gate>() }.stop();
        RawWaker::new(data, &GATED)
    },
    |_data| {},
    |_data| {},
    |_data| {},
);
