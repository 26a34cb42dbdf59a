//! [`AppendStream`]: the appends of one connection, in order.

use std::sync::Arc;

use super::{LogInner, QueueSpace};
use crate::append::{Append, AppendError, StreamError, Ticket};

/// Appends that must stay in order, as one connection sends them. Once one append is refused or
/// fails, every later one is refused with the same error, even if it is already queued. So the
/// durable appends of a stream are a prefix of it.
#[derive(Debug, Clone)]
pub struct AppendStream {
    pub(crate) log: Arc<LogInner>,
    pub(crate) stream_error: Arc<StreamError>,
}

impl AppendStream {
    /// As [`Log::append`](crate::Log::append), in the stream's order.
    ///
    /// # Errors
    /// As there, and the error of the stream's first refused append.
    #[expect(clippy::result_large_err, reason = "a full queue returns the append itself")]
    pub fn append(&self, append: impl Into<Append>) -> Result<Ticket, AppendError> {
        if let Some(error) = self.stream_error.get() {
            return Err(error.into());
        }
        let queued = self.log.enqueue(append.into(), Some(Arc::clone(&self.stream_error)));
        if let Err(AppendError::Refused(error)) = &queued {
            self.stream_error.set(error);
        }
        queued
    }

    /// Resolves when the queue may accept an append again.
    #[must_use]
    pub fn queue_space(&self) -> QueueSpace {
        QueueSpace { log: Arc::clone(&self.log), key: None }
    }
}
