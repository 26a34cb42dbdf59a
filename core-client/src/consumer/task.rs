//! [`ConsumerTask`]: the task behind a consumer. It connects, receives records, and
//! connects again until the read is complete or cannot continue.
//!
//! ```text
//! connect ─▶ pump ─▶ complete                       finish: no more records
//!    ▲         ├───▶ broken, silent, shutting down … back off, reconnect at the next position
//!    │         ├───▶ damaged block, first time ……… the same; a second time there: finish
//!    └─────────┴───▶ log_changed, out_of_range …… finish: an error
//! ```
//! Invariant: when the task ends, even if it is cancelled, its [`BatchSender`]
//! stores how it ended.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::block::{self, ParseError};
use styx_protocol::frame::Ends;
use styx_protocol::{Code, Position};
use tokio::time::Instant;

use super::batch_queue::{BatchSender, OpenedRead};
use super::connection::{ConsumerConnection, PumpEnd};
use super::progress::{ConsumerHandshake, ReadProgress};
use crate::activity::Connected;
use crate::backoff::Backoff;
use crate::batch::{BlockError, Cause};
use crate::error::{Error, Facts, Kind};
use crate::events::{EventKind, Subject};
use crate::options::{TIMEOUT_MAX, UNKNOWN_HOST_TIMEOUT};
use crate::runtime::catch_panic;
use crate::transport::{Socket, Transport};

/// The shortest interval between heartbeats, whatever timeout the server announces.
const HEARTBEAT_MIN: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct ConsumerTask {
    transport: Arc<Transport>,
    sender: BatchSender,
    progress: ReadProgress,
    policy: RetryPolicy,
    /// The position of the last damaged block.
    damaged_at: Option<u64>,
    /// While a connection is open.
    connected: Option<Connected>,
}

/// How long to keep trying without a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPolicy {
    /// The limit until the first connection is open.
    pub(super) open_timeout: Duration,
    /// Whether the first connection is tried more than once.
    pub(super) retry: bool,
    /// The limit after a connection broke; `None` means no limit.
    pub(super) reconnect_timeout: Option<Duration>,
}

/// The result of one connection.
enum Attempt {
    Complete,
    Failed {
        /// Whether anything was received on it.
        heard: bool,
        error: Error,
    },
}

impl ConsumerTask {
    pub(super) fn new(
        transport: Arc<Transport>,
        sender: BatchSender,
        progress: ReadProgress,
        policy: RetryPolicy,
    ) -> ConsumerTask {
        ConsumerTask { transport, sender, progress, policy, damaged_at: None, connected: None }
    }

    /// Runs until there is nothing more to read.
    pub(super) async fn run(mut self) {
        let outcome = catch_panic(self.read()).await;
        self.tell(EventKind::Closed);
        self.sender.finish(outcome.clone());
        if let Err(error) = &outcome {
            tracing::debug!("a consumer ended: {error}");
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::random();
        let mut disconnected_since = Instant::now();
        let mut last = None;
        loop {
            let (heard, error) = match self.connect_and_pump(disconnected_since, last).await {
                Attempt::Complete => return Ok(()),
                Attempt::Failed { heard, error } => (heard, error),
            };
            self.tell(EventKind::Lost(error.clone()));
            if !error.is_retriable() {
                return Err(error);
            }
            if heard {
                backoff.reset();
                disconnected_since = Instant::now();
            }
            let wait = backoff.next(error.facts().retry_after);
            self.check_policy(disconnected_since.elapsed() + wait, &error)?;
            self.tell(EventKind::Again { wait });
            tracing::debug!("a consumer reconnects in {wait:?}: {error}");
            last = Some(error);
            tokio::time::sleep(wait).await;
        }
    }

    /// Tells the events of an open read. Its opener gets the errors before.
    fn tell(&self, kind: EventKind) {
        if self.progress.range().is_some() {
            self.transport.events().add(Subject::Consumer, self.progress.log(), kind);
        }
    }

    fn check_policy(&self, disconnected: Duration, error: &Error) -> Result<(), Error> {
        let RetryPolicy { open_timeout, retry, reconnect_timeout } = self.policy;
        if self.progress.range().is_none() {
            let limit = match error.kind() {
                Kind::UnknownHost => open_timeout.min(UNKNOWN_HOST_TIMEOUT),
                _ => open_timeout,
            };
            return if retry && disconnected <= limit { Ok(()) } else { Err(error.clone()) };
        }
        match reconnect_timeout.filter(|timeout| disconnected > *timeout) {
            Some(timeout) => Err(Error::new(
                Kind::TimedOut,
                format!("no connection for {timeout:?}; the last attempt failed: {error}"),
            )),
            None => Ok(()),
        }
    }

    /// `last` is the error of the attempt before. It says more than that the time ended during this
    /// one.
    async fn connect_and_pump(
        &mut self,
        disconnected_since: Instant,
        last: Option<Error>,
    ) -> Attempt {
        let connected = match self.progress.range() {
            Some(_) => self.connect().await,
            None => {
                let open_timeout = self.policy.open_timeout;
                let end = disconnected_since + open_timeout;
                tokio::time::timeout_at(end, self.connect()).await.unwrap_or_else(|_| {
                    let text = format!("the server did not respond within {open_timeout:?}");
                    Err(last.unwrap_or_else(|| Error::new(Kind::TimedOut, text)))
                })
            }
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => return Attempt::Failed { heard: false, error },
        };
        self.tell(EventKind::Connected);
        let end = connection.pump(&self.sender).await;
        self.connected = None;
        self.progress.advance(connection.next_position(), connection.end());
        let error = match end {
            PumpEnd::Complete => return Attempt::Complete,
            PumpEnd::Failed(error) => error,
            PumpEnd::BadBlock(error) => {
                self.tell(EventKind::Damaged { position: error.position });
                self.retry_once(error.position, lasting_error(&error))
            }
            PumpEnd::BadFrame(error) => {
                self.retry_once(connection.next_position(), self.transport.protocol_error(&error))
            }
        };
        Attempt::Failed { heard: connection.heard_frames(), error }
    }

    async fn connect(&mut self) -> Result<ConsumerConnection<Socket>, Error> {
        let request = self.progress.request()?;
        let upgraded = self.transport.upgrade(&request).await?;
        let handshake = ConsumerHandshake::read(&upgraded)?;
        let range = self.progress.apply(handshake)?;
        let ends = Ends { start: Position(handshake.start), end: Position(handshake.end) };
        self.sender.set_ends(ends);
        // The opener sees the connection in the numbers.
        self.connected = Some(self.sender.activity().connected(Instant::now().into()));
        self.sender.set_opened(OpenedRead { log: range.log, position: range.next });
        let (transport, heartbeat) = (Arc::clone(&self.transport), heartbeat(handshake));
        Ok(ConsumerConnection::new(transport, upgraded.socket, &upgraded.read, range, heartbeat))
    }

    /// Damaged bytes may have been damaged in transit, so the first error at a
    /// position can be retried. The second one there is `lasting`.
    fn retry_once(&mut self, position: u64, lasting: Error) -> Error {
        if self.damaged_at.replace(position) == Some(position) {
            return lasting;
        }
        Error::new(Kind::ConnectionFailed, format!("{lasting}; reading it again"))
    }
}

/// The error for a block that could not be used twice in a row.
fn lasting_error(error: &BlockError) -> Error {
    let is_newer = matches!(
        error.cause,
        Cause::Block(ParseError::Header(
            block::Error::Version(_) | block::Error::Codec(_) | block::Error::Flags(_)
        ))
    );
    let kind = match error.cause {
        Cause::OutOfOrder { .. } => Kind::BadAnswer,
        _ if is_newer => Kind::BadAnswer,
        _ => Kind::Code(Code::CorruptRecord),
    };
    let facts = Facts { position: Some(error.position), ..Facts::default() };
    Error::with_facts(kind, format!("the server sent a damaged block {error}"), facts)
}

/// Half of the timeout that the server announced.
fn heartbeat(handshake: ConsumerHandshake) -> Duration {
    let timeout = Duration::from_secs(handshake.timeout_seconds).min(TIMEOUT_MAX);
    (timeout / 2).max(HEARTBEAT_MIN)
}
