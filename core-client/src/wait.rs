//! Waits for a future on a thread that has no executor.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until the future is ready. The future must not need an executor;
/// no future of this crate does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = block_on_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// As [`block_on`], but waits for at most `timeout`. If the future is not ready by then,
/// it returns `None`, and the future can be waited for again. It polls at least once.
pub fn block_on_for<F: Future + ?Sized>(
    future: Pin<&mut F>,
    timeout: Duration,
) -> Option<F::Output> {
    // A timeout that is too long for the clock means no limit.
    block_on_until(future, Instant::now().checked_add(timeout))
}

/// Waits until the future is ready or the time has come.
fn block_on_until<F: Future + ?Sized>(
    mut future: Pin<&mut F>,
    end: Option<Instant>,
) -> Option<F::Output> {
    // Most calls are ready at once, and need no waker of their own.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Some(output);
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_thread_wakes_the_waiting_thread() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver), Ok(7));
        assert!(other.join().is_ok_and(|sent| sent.is_ok()));
    }

    #[test]
    fn wait_ends_at_the_timeout_and_can_continue() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut receiver = pin!(receiver);
        assert_eq!(block_on_for(receiver.as_mut(), Duration::from_millis(1)), None);
        sender.send(7).expect("it is waited for");
        assert_eq!(block_on_for(receiver.as_mut(), Duration::MAX), Some(Ok(7)));
    }
}
