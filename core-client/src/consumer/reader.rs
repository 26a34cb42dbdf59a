//! [`Reader`]: the task behind a consumer. Connects, pumps, and connects again
//! until all has come or it makes no sense any more.
//!
//! ```text
//! connect ─▶ pump ─▶ complete                       finish: no more
//!    ▲         ├───▶ broke, silent, shutting down … back off, and again from the next position
//!    │         ├───▶ damaged block, first time ……… the same; the second time there: finish
//!    └─────────┴───▶ log_changed, out_of_range …… finish: an error
//! ```
//! Invariant: it ends by saying so in its [`Feed`], also when it is cancelled.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::block::{self, ParseError};
use styx_protocol::frame::Ends;
use styx_protocol::{Code, Position};
use tokio::time::Instant;

use super::course::{Agreed, Course};
use super::link::{Link, Over};
use super::waiting::{Feed, Opened};
use crate::backoff::Backoff;
use crate::batch::{Cause, Fault};
use crate::error::{Error, Facts, Kind};
use crate::options::TIMEOUT_MAX;
use crate::transport::{Socket, Transport};

/// Heartbeats are sent no more often, whatever the server announces.
const HEARTBEAT_MIN: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Reader {
    transport: Arc<Transport>,
    feed: Feed,
    course: Course,
    patience: Patience,
    /// Where something damaged came last.
    damaged_at: Option<u64>,
}

/// How long to go on without a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until the first one is there.
    pub(super) open: Duration,
    /// Whether that is tried more than once.
    pub(super) retry: bool,
    /// Once a connection broke; `None` is for ever.
    pub(super) again: Option<Duration>,
}

/// How one connection went.
enum Connection {
    Complete,
    Failed {
        /// Whether anything came on it.
        heard: bool,
        error: Error,
    },
}

impl Reader {
    pub(super) fn new(
        transport: Arc<Transport>,
        feed: Feed,
        course: Course,
        patience: Patience,
    ) -> Reader {
        Reader { transport, feed, course, patience, damaged_at: None }
    }

    /// Runs until there is nothing more to read.
    pub(super) async fn run(mut self) {
        let outcome = self.read().await;
        if let Err(error) = &outcome {
            tracing::debug!("a consumer ended: {error}");
        }
        self.feed.finish(outcome);
    }

    async fn read(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::random();
        let mut alone_since = Instant::now();
        loop {
            let (heard, error) = match self.connect_and_pump(alone_since).await {
                Connection::Complete => return Ok(()),
                Connection::Failed { heard, error } => (heard, error),
            };
            if !error.is_retriable() {
                return Err(error);
            }
            if heard {
                backoff.reset();
                alone_since = Instant::now();
            }
            let wait = backoff.next(error.facts().retry_after);
            self.check_patience(alone_since.elapsed() + wait, &error)?;
            tracing::debug!("a consumer connects again in {wait:?}: {error}");
            tokio::time::sleep(wait).await;
        }
    }

    fn check_patience(&self, alone: Duration, error: &Error) -> Result<(), Error> {
        let Patience { open, retry, again } = self.patience;
        if self.course.settled().is_none() {
            return if retry && alone <= open { Ok(()) } else { Err(error.clone()) };
        }
        match again.filter(|again| alone > *again) {
            Some(again) => Err(Error::new(
                Kind::TimedOut,
                format!("no connection for {again:?}; the last attempt: {error}"),
            )),
            None => Ok(()),
        }
    }

    async fn connect_and_pump(&mut self, alone_since: Instant) -> Connection {
        let connected = match self.course.settled() {
            Some(_) => self.connect().await,
            None => {
                let open = self.patience.open;
                let end = alone_since + open;
                tokio::time::timeout_at(end, self.connect()).await.unwrap_or_else(|_| {
                    let text = format!("the server did not answer within {open:?}");
                    Err(Error::new(Kind::TimedOut, text))
                })
            }
        };
        let mut link = match connected {
            Ok(link) => link,
            Err(error) => return Connection::Failed { heard: false, error },
        };
        let over = link.pump(&self.feed).await;
        self.course.advance(link.next_position(), link.end());
        let error = match over {
            Over::Complete => return Connection::Complete,
            Over::Failed(error) => error,
            Over::Faulty(fault) => self.damaged(fault.position, faulty(&fault)),
            Over::Garbled(error) => {
                self.damaged(link.next_position(), self.transport.confused(&error))
            }
        };
        Connection::Failed { heard: link.heard_frames(), error }
    }

    async fn connect(&mut self) -> Result<Link<Socket>, Error> {
        let request = self.course.request()?;
        let upgraded = self.transport.upgrade(&request).await?;
        let agreed = Agreed::read(&upgraded)?;
        let settled = self.course.agree(agreed)?;
        self.feed.heard(Ends { start: Position(agreed.start), end: Position(agreed.end) });
        self.feed.open(Opened { log: settled.log, position: settled.next });
        let (transport, heartbeat) = (Arc::clone(&self.transport), heartbeat(agreed));
        Ok(Link::new(transport, upgraded.socket, &upgraded.read, settled, heartbeat))
    }

    /// What came is damaged, perhaps on its way: it is asked for once more.
    fn damaged(&mut self, position: u64, lasting: Error) -> Error {
        if self.damaged_at.replace(position) == Some(position) {
            return lasting;
        }
        Error::new(Kind::ConnectionFailed, format!("{lasting}; it is asked for again"))
    }
}

/// What a block that cannot be used means, if it comes a second time.
fn faulty(fault: &Fault) -> Error {
    let is_newer = matches!(
        fault.cause,
        Cause::Block(ParseError::Header(
            block::Error::Version(_) | block::Error::Codec(_) | block::Error::Flags(_)
        ))
    );
    let kind = match fault.cause {
        Cause::OutOfOrder { .. } => Kind::BadAnswer,
        _ if is_newer => Kind::BadAnswer,
        _ => Kind::Code(Code::CorruptRecord),
    };
    let facts = Facts { position: Some(fault.position), ..Facts::default() };
    Error::with_facts(kind, format!("what the server sends is damaged {fault}"), facts)
}

/// At half the time-out that the server announced.
fn heartbeat(agreed: Agreed) -> Duration {
    let timeout = Duration::from_secs(agreed.timeout_seconds).min(TIMEOUT_MAX);
    (timeout / 2).max(HEARTBEAT_MIN)
}
