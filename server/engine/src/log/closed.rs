//! [`Closed`]: waiting until a log is closed or removed, for a connection that holds it open
//! and is idle.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::LogInner;
use crate::Error;

/// See [`Log::closed`](crate::Log::closed). Cancel safe.
#[derive(Debug)]
pub struct Closed {
    pub(super) log: Arc<LogInner>,
    pub(super) key: Option<u64>,
}

impl Future for Closed {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Error> {
        let this = &mut *self;
        match this.log.tail.register_close(&mut this.key, context.waker()) {
            Some(error) => Poll::Ready(error),
            None => Poll::Pending,
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.log.tail.unregister_close(self.key);
    }
}
