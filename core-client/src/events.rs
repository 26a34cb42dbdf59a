//! [`Event`]: a change of a producer's or consumer's connection, for programs that log
//! such changes.
//!
//! ```text
//! tasks ─▶ Events (bounded) ─▶ take_events, on a thread of the caller
//!             └ Source: something is new
//! ```
//! No thread of the client runs code of the caller.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use styx_protocol::LogName;

use crate::client::Client;
use crate::completion::Source;
use crate::error::Error;

/// The most events that wait to be taken. If there are more, the oldest are dropped.
pub const EVENTS_MAX: usize = 1024;

/// Something that happened to a producer or consumer.
/// [`Client::take_events`] returns them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// Whether a producer or a consumer is concerned.
    pub subject: Subject,
    /// The log that it reads or appends to.
    pub log: LogName,
    /// The event itself.
    pub kind: EventKind,
}

/// The kind of object that an [`Event`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A producer.
    Producer,
    /// A consumer.
    Consumer,
}

/// The kinds of events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// A connection is open.
    Connected,
    /// The connection ended, or none could be opened.
    Lost(Error),
    /// It connects again after this time.
    Again {
        /// The time until then.
        wait: Duration,
    },
    /// A consumer received a block that is damaged from this position on. It asks for it
    /// once more.
    Damaged {
        /// The position of the first record of the block that was not read.
        position: u64,
    },
    /// It ended: a producer was closed or dropped, a consumer has read everything, or the
    /// error before this event cannot be retried. A consumer that the program closes or
    /// drops has no such event.
    Closed,
}

/// The events of one client.
#[derive(Debug, Default)]
pub(crate) struct Events {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    dropped: u64,
    source: Option<Source>,
}

impl Events {
    /// Adds an event and notifies the source.
    pub(crate) fn add(&self, subject: Subject, log: &LogName, kind: EventKind) {
        let mut state = self.lock();
        if state.waiting.len() >= EVENTS_MAX {
            state.waiting.pop_front();
            state.dropped += 1;
        }
        state.waiting.push_back(Event { subject, log: log.clone(), kind });
        let source = state.source.clone();
        drop(state);
        if let Some(source) = source {
            source.ready();
        }
    }

    fn notify(&self, source: Source) {
        self.lock().source = Some(source.clone());
        source.ready();
    }

    fn take(&self, into: &mut Vec<Event>) -> u64 {
        let mut state = self.lock();
        into.extend(state.waiting.drain(..));
        std::mem::take(&mut state.dropped)
    }

    /// No code panics under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For programs that watch their connections.
impl Client {
    /// From now on, notifies `source` of new events. It replaces an earlier source. It
    /// also notifies `source` once immediately, for events that happened before. In a
    /// forked child it does nothing.
    ///
    /// After a notification, call [`take_events`](Self::take_events).
    pub fn events(&self, source: Source) {
        if self.runtime().process().check().is_ok() {
            self.transport().events().notify(source);
        }
    }

    /// Moves all events of this client's producers and consumers that were not taken yet
    /// to the end of `into`, oldest first. Clones of a client share their events.
    ///
    /// Up to [`EVENTS_MAX`] events wait. Returns how many older ones were dropped since
    /// the last call. In a forked child there are no events.
    pub fn take_events(&self, into: &mut Vec<Event>) -> u64 {
        match self.runtime().process().check() {
            Ok(()) => self.transport().events().take(into),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_the_newest_are_kept() {
        let events = Events::default();
        let log = "orders".parse().expect("a name");
        for position in 0..EVENTS_MAX as u64 + 3 {
            events.add(Subject::Consumer, &log, EventKind::Damaged { position });
        }
        let mut taken = Vec::new();
        assert_eq!(events.take(&mut taken), 3);
        assert_eq!(taken.len(), EVENTS_MAX);
        let first = taken.first().map(|event| &event.kind);
        assert!(matches!(first, Some(EventKind::Damaged { position: 3 })), "{first:?}");
        assert_eq!((events.take(&mut taken), taken.len()), (0, EVENTS_MAX));
    }
}
