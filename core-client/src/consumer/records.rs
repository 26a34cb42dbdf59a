//! [`Records`]: the records of a consumer one by one, owned.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::Consumer;
use crate::batch::OwnedRecord;
use crate::error::Error;

/// The records from here on; made by [`Consumer::records`].
///
/// An error is the last item. Dropping it loses nothing: the consumer goes on
/// behind the last record that was given out.
#[derive(Debug)]
#[must_use = "nothing is read until a record is asked for"]
pub struct Records<'c> {
    /// `None` after the last item.
    consumer: Option<&'c mut Consumer>,
}

impl Records<'_> {
    /// The next record; `None` when all that was asked for was given out, and
    /// after an error. With `follow` it waits for records that are not there yet.
    ///
    /// Cancel safe: a record that was not returned comes with the next call.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`].
    pub async fn next(&mut self) -> Option<Result<OwnedRecord, Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), as a `Stream` of any executor's would have it.
    ///
    /// # Errors
    /// As there.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<OwnedRecord, Error>>> {
        let Some(consumer) = &mut self.consumer else { return Poll::Ready(None) };
        let next = match ready!(consumer.poll_current(context)) {
            Ok(true) => Ok(consumer.take_record().map(OwnedRecord::from)),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        if !matches!(next, Ok(Some(_))) {
            self.consumer = None;
        }
        Poll::Ready(next.transpose())
    }
}

impl Consumer {
    /// The records from here on, each by itself and owned:
    /// [`next_record`](Self::next_record), over and over, for records that are
    /// kept. An error is the last item.
    pub fn records(&mut self) -> Records<'_> {
        Records { consumer: Some(self) }
    }
}
