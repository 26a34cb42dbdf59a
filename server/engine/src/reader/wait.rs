//! [`Wait`]: waits until a log has a record at a position.
//!
//! Invariant: a dropped wait leaves no registration in the log's tail.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use styx_protocol::Position;

use crate::log::LogInner;

/// A future that resolves when a record can be read; see [`Reader::wait`](crate::Reader::wait).
/// Cancel safe.
#[derive(Debug)]
pub struct Wait {
    pub(super) log: Arc<LogInner>,
    pub(super) position: Position,
    pub(super) key: Option<u64>,
}

impl Wait {
    /// Blocks this thread until the future resolves.
    pub fn wait(self) {
        pollster::block_on(self);
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.log.tail.register(this.position, &mut this.key, context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.log.tail.unregister(self.key);
    }
}
