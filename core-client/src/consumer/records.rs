//! [`Records`]: the records of a consumer one by one, each owned.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::Consumer;
use crate::batch::OwnedRecord;
use crate::error::Error;

/// The remaining records of a consumer. [`Consumer::records`] returns it.
///
/// An error is the last item. Dropping this loses nothing: the consumer continues
/// after the last record that was returned.
#[derive(Debug)]
#[must_use = "nothing is read until a record is requested"]
pub struct Records<'c> {
    /// `None` after the last item.
    consumer: Option<&'c mut Consumer>,
}

impl Records<'_> {
    /// The next record; `None` after the last record of the read and after an error.
    /// With `follow` it waits for records that do not exist yet.
    ///
    /// Cancel safe: the next call returns the record that a cancelled call did not.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`].
    pub async fn next(&mut self) -> Option<Result<OwnedRecord, Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), with the signature of a `Stream`.
    ///
    /// # Errors
    /// As [`next`](Self::next).
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
    /// The remaining records, one by one and owned: for records that are kept. For
    /// records that are only looked at, [`next_record`](Self::next_record) does less
    /// work.
    pub fn records(&mut self) -> Records<'_> {
        Records { consumer: Some(self) }
    }
}
