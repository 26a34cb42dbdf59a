//! [`Pipeline`]: the appends of a connection, many in flight at a time.
//!
//! ```text
//! submit ─▶ waiting (at most one) ─▶ engine's queue ─▶ durable ─▶ progress
//! ```
//!
//! Results have the order of the appends. What is in flight is bounded: the front end
//! stops reading its socket while there is no [capacity](Pipeline::has_capacity). There is
//! none either while a limit of the principal or of the log is reached.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use styx_engine::{Append, AppendError, AppendStream, Appended, QueueSpace, Ticket};

use tokio::time::{Instant, Sleep};

use super::{Error, OpenLog};
use crate::limits::{Direction, LOOK_AFTER, Meter, Part};

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipeline {
    stream: AppendStream,
    bytes_max: usize,
    appends_max: usize,
    /// An append that found the log's queue full.
    waiting: Option<(Append, QueueSpace)>,
    in_flight: VecDeque<(Ticket, usize)>,
    bytes: usize,
    meter: Meter,
    /// Whether limits make it wait.
    waits_for_limits: bool,
    limited: Option<Limited>,
}

/// A wait for a limit.
#[derive(Debug)]
struct Limited {
    since: Instant,
    /// When to look again.
    look: Pin<Box<Sleep>>,
}

/// What has become of the appends since the last call.
#[derive(Debug, Default)]
pub(crate) struct AppendProgress {
    /// Durable now, in order.
    pub(crate) appended: Vec<Appended>,
    /// Why the next append failed; all that follow it fail too.
    pub(crate) failed: Option<Error>,
}

impl OpenLog {
    /// Begins to append, with at most `bytes_max` and `appends_max` in flight. A
    /// single append of any size is always accepted.
    pub(crate) fn pipeline(&self, bytes_max: usize, appends_max: usize) -> Pipeline {
        Pipeline {
            stream: self.log.stream(),
            bytes_max,
            appends_max,
            waiting: None,
            in_flight: VecDeque::new(),
            bytes: 0,
            meter: self.meter.clone(),
            waits_for_limits: true,
            limited: None,
        }
    }
}

impl Pipeline {
    /// Whether another append may be submitted.
    pub(crate) fn has_capacity(&self) -> bool {
        self.waiting.is_none()
            && self.limited.is_none()
            && self.bytes < self.bytes_max
            && self.in_flight.len() < self.appends_max
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.in_flight.is_empty()
    }

    /// Whether a limit is reached. It may be while nothing is in flight.
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.is_some()
    }

    /// Why a connection that is limited must not go on: its memory is needed by others.
    pub(crate) fn limit_error(&self) -> Error {
        self.meter.out_of_patience(Direction::Append)
    }

    /// Makes limits count, but not wait, because the rest has arrived already and the stream
    /// ends.
    pub(crate) fn stop_waiting_for_limits(&mut self) {
        self.waits_for_limits = false;
        self.limited = None;
    }

    /// Bytes that are in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends; call it only while there is [capacity](Self::has_capacity).
    ///
    /// # Errors
    /// The append is refused at once; appends before it continue.
    pub(crate) fn submit(&mut self, append: Append) -> Result<(), Error> {
        self.meter.check_stored()?;
        let bytes = append.len_bytes();
        match self.stream.append(append) {
            Ok(ticket) => self.in_flight.push_back((ticket, bytes)),
            Err(AppendError::QueueFull(append)) => {
                self.waiting = Some((append, self.stream.queue_space()));
            }
            Err(AppendError::Refused(error)) => return Err(error.into()),
        }
        self.bytes += bytes;
        self.meter.charge(Direction::Append, bytes, 1);
        if self.waits_for_limits && self.limited.is_none() {
            self.limited = self.meter.delay(Direction::Append, Part::Append).map(|delay| {
                self.meter.note_wait(Direction::Append, Part::Append);
                Limited { since: Instant::now(), look: look_after(delay) }
            });
        }
        Ok(())
    }

    /// Waits until an append is durable, has failed, or has entered the log's queue, or, once
    /// a second, while a limit is reached. Then returns everything that has become known.
    /// Without an append in flight and without a limit it never resolves. Cancel safe.
    pub(crate) async fn progress(&mut self) -> AppendProgress {
        poll_fn(|context| self.poll_progress(context)).await
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<AppendProgress> {
        let mut progress = AppendProgress::default();
        while let Some((ticket, bytes)) = self.in_flight.front_mut() {
            let Poll::Ready(result) = Pin::new(ticket).poll(context) else { break };
            self.bytes -= *bytes;
            self.in_flight.pop_front();
            match result {
                Ok(appended) => progress.appended.push(appended),
                Err(error) => {
                    progress.failed = Some(error.into());
                    return Poll::Ready(progress);
                }
            }
        }
        let moved = match self.poll_waiting(context) {
            Ok(moved) => moved,
            Err(error) => {
                progress.failed = Some(error);
                return Poll::Ready(progress);
            }
        };
        if moved || !progress.appended.is_empty() {
            return Poll::Ready(progress);
        }
        match self.poll_limit(context) {
            Some(Ok(())) => Poll::Ready(progress),
            Some(Err(error)) => {
                progress.failed = Some(error);
                Poll::Ready(progress)
            }
            None => Poll::Pending,
        }
    }

    /// Looks again at a limit that was reached.
    ///
    /// # Errors
    /// `too_many_requests` after `tcp_timeout`.
    fn poll_limit(&mut self, context: &mut Context<'_>) -> Option<Result<(), Error>> {
        let limited = self.limited.as_mut()?;
        if limited.look.as_mut().poll(context).is_pending() {
            return None;
        }
        match self.meter.delay(Direction::Append, Part::Append) {
            None => self.limited = None,
            Some(_) if limited.since.elapsed() >= self.meter.patience() => {
                return Some(Err(self.limit_error()));
            }
            Some(delay) => limited.look = look_after(delay),
        }
        Some(Ok(()))
    }

    /// Tries the append again that found the queue full; returns whether it was
    /// accepted.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Result<bool, Error> {
        while let Some((append, mut room)) = self.waiting.take() {
            if Pin::new(&mut room).poll(context).is_pending() {
                self.waiting = Some((append, room));
                return Ok(false);
            }
            let bytes = append.len_bytes();
            match self.stream.append(append) {
                Ok(ticket) => {
                    self.in_flight.push_back((ticket, bytes));
                    return Ok(true);
                }
                Err(AppendError::QueueFull(append)) => {
                    self.waiting = Some((append, self.stream.queue_space()));
                }
                Err(AppendError::Refused(error)) => {
                    self.bytes -= bytes;
                    return Err(error.into());
                }
            }
        }
        Ok(false)
    }
}

/// Resolves when to look at a limit again: when there will be tokens, but soon in any case,
/// because the limits may change and others may need this connection's memory.
fn look_after(delay: std::time::Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(delay.min(LOOK_AFTER)))
}
