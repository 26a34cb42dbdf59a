//! Waiting for a future on a thread that has no executor.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until the future is done. It needs no executor, and has
/// to be one that needs none, as all of this crate are.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    // Most calls are ready at once, and need no waker of their own.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// As [`block_on`], but only until the time is over: then it gives `None`, and
/// the future can be waited for again. Polls at least once.
pub fn block_on_for<F: Future>(mut future: Pin<&mut F>, patience: Duration) -> Option<F::Output> {
    let end = Instant::now().checked_add(patience);
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
    fn what_another_thread_does_wakes_the_waiting_one() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver), Ok(7));
        assert!(other.join().is_ok_and(|sent| sent.is_ok()));
    }

    #[test]
    fn waiting_ends_with_patience_and_can_go_on() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut receiver = pin!(receiver);
        assert_eq!(block_on_for(receiver.as_mut(), Duration::from_millis(1)), None);
        sender.send(7).expect("it is waited for");
        assert_eq!(block_on_for(receiver.as_mut(), Duration::MAX), Some(Ok(7)));
    }
}
