//! Waiting for a log's end, for those who hold it open and do nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Inner;
use crate::Error;

/// See [`Log::gone`](crate::Log::gone). Cancel safe.
#[derive(Debug)]
pub struct Gone {
    pub(super) log: Arc<Inner>,
    pub(super) key: Option<u64>,
}

impl Future for Gone {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Error> {
        let this = &mut *self;
        match this.log.tail.watch(&mut this.key, context.waker()) {
            Some(error) => Poll::Ready(error),
            None => Poll::Pending,
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.log.tail.unwatch(self.key);
    }
}
