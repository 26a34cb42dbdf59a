//! [`QueueSpace`]: waiting for space in a log's queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::LogInner;

/// Resolves when the queue may accept an append again. Cancel safe.
#[derive(Debug)]
pub struct QueueSpace {
    pub(crate) log: Arc<LogInner>,
    pub(crate) key: Option<u64>,
}

impl QueueSpace {
    /// Blocks this thread until then.
    pub fn wait(self) {
        pollster::block_on(self);
    }
}

impl Future for QueueSpace {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.log.queue.register_space(&mut this.key, context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for QueueSpace {
    fn drop(&mut self) {
        self.log.queue.unregister_space(self.key);
    }
}
