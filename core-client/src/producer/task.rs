//! [`ProducerTask`]: the task behind a producer. It owns the connections and decides
//! after each of them whether to reconnect.
//!
//! ```text
//! connect ─▶ reopen ─▶ serve ─▶ after_disconnect ─┬▶ back off ─▶ connect
//!                                                 └▶ end: everything unacknowledged fails
//! ```
//! It ends when the producer is closed or dropped, when an error cannot be retried,
//! and when the oldest record's deadline passes.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use styx_protocol::Code;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::connection::{self, ConnectionEnd};
use super::handshake::ProducerHandshake;
use super::outgoing::{OpenedProducer, Outgoing, StopReason};
use super::settings::ProducerSettings;
use super::shared::ProducerShared;
use super::work::{Intent, WorkRequest};
use crate::activity::Connected;
use crate::backoff::{self, Backoff};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::events::{EventKind, Subject};
use crate::options::UNKNOWN_HOST_TIMEOUT;
use crate::process::ForgetInChild;
use crate::runtime::catch_panic;
use crate::transport::{Transport, Upgraded};

/// See the module.
struct ProducerTask {
    transport: Arc<Transport>,
    outgoing: Outgoing,
    backoff: Backoff,
    /// How many times in a row, without an ack, the server rejected the stream as
    /// malformed. If the network cuts a connection inside a frame, good bytes look
    /// malformed once. Bytes that really are malformed are rejected every time.
    malformed: u32,
    /// The caller has received the producer.
    is_open: bool,
}

/// A connection after its handshake.
struct NewConnection {
    upgraded: Upgraded,
    handshake: ProducerHandshake,
    connected: Connected,
}

/// After this many rejections in a row, the stream really is malformed.
const MALFORMED_MAX: u32 = 5;

/// Starts a producer's task and waits until its first connection is open.
pub(super) async fn open(
    client: &Client,
    settings: ProducerSettings,
) -> Result<(Arc<ProducerShared>, OpenedProducer), Error> {
    let process = client.runtime().process();
    process.check()?;
    let shared = Arc::new(ProducerShared::new(
        settings.limits,
        settings.linger,
        settings.track_settled,
        process,
    ));
    let task = ProducerTask {
        transport: Arc::clone(client.transport()),
        outgoing: Outgoing::new(Arc::clone(&shared), settings),
        backoff: Backoff::random(),
        malformed: 0,
        is_open: false,
    };
    let (opened, response) = oneshot::channel();
    let span = tracing::debug_span!("producer", log = %task.outgoing.log());
    client.runtime().spawn(task.run(opened).instrument(span));
    // If this future is dropped, so is `response`, and the task ends.
    let opened =
        ForgetInChild::new(process, response).await.map_err(|_| Error::closed("client"))??;
    Ok((shared, opened))
}

impl ProducerTask {
    async fn run(mut self, mut opened: oneshot::Sender<Result<OpenedProducer, Error>>) {
        let first = tokio::select! {
            first = catch_panic(self.open()) => first,
            () = opened.closed() => return,
        };
        let first = match first {
            Ok(first) => first,
            Err(error) => {
                self.outgoing.end(Some(error.clone()));
                drop(opened.send(Err(error)));
                return;
            }
        };
        let response = self.outgoing.opened(&first.handshake);
        if opened.send(Ok(response)).is_err() {
            return;
        }
        self.is_open = true;
        let cause = match catch_panic(async { Ok(self.work(first).await) }).await {
            Ok(cause) => cause,
            Err(panicked) => Some(panicked),
        };
        self.outgoing.end(cause);
    }

    /// Serves one connection after the other until the producer ends, and returns why;
    /// `None` if it was closed.
    async fn work(&mut self, first: NewConnection) -> Option<Error> {
        let mut next = Some(first);
        loop {
            let end = match next.take() {
                Some(connection) => self.serve(connection).await,
                None => match self.run_until_stopped(self.connect()).await {
                    Ok(Ok(connection)) => match self.outgoing.reopen(&connection.handshake) {
                        Ok(()) => {
                            next = Some(connection);
                            continue;
                        }
                        Err(error) => ConnectionEnd::Lost(error),
                    },
                    Ok(Err(error)) => ConnectionEnd::Lost(error),
                    Err(stop) => ConnectionEnd::Stopped(stop),
                },
            };
            if let Err(cause) = self.after_disconnect(end).await {
                return cause;
            }
        }
    }

    /// The first connection, retried until the call timeout.
    async fn open(&mut self) -> Result<NewConnection, Error> {
        let timeout = self.transport.options().call_timeout;
        let begun = Instant::now();
        let end = begun + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.connect()).await {
                Ok(Ok(connection)) => {
                    self.outgoing.open(&connection.handshake)?;
                    return Ok(connection);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    let text = format!("the server did not respond within {timeout:?}");
                    let last = self.outgoing.take_last_error();
                    return Err(last.unwrap_or(Error::new(Kind::TimedOut, text)));
                }
            };
            let wait = self.backoff.next(error.facts().retry_after);
            let end = match error.kind() {
                Kind::UnknownHost => end.min(begun + UNKNOWN_HOST_TIMEOUT),
                _ => end,
            };
            let in_time = Instant::now() + wait < end;
            if !(error.is_retriable() && self.transport.options().retry && in_time) {
                return Err(error);
            }
            self.outgoing.set_last_error(error);
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self) -> Result<NewConnection, Error> {
        let request = self.outgoing.request(self.transport.options().silence_timeout);
        let upgraded = self.transport.upgrade(&request).await?;
        let handshake = ProducerHandshake::read(&upgraded, self.outgoing.is_idempotent())?;
        let connected = self.outgoing.shared.activity.connected(Instant::now());
        Ok(NewConnection { upgraded, handshake, connected })
    }

    async fn serve(&mut self, connection: NewConnection) -> ConnectionEnd {
        let NewConnection { upgraded, handshake, connected: _connected } = connection;
        let since = Instant::now();
        self.tell(EventKind::Connected);
        let end = connection::serve(&mut self.outgoing, &self.transport, upgraded, handshake).await;
        if self.outgoing.take_progress() {
            self.malformed = 0;
            self.backoff.reset();
        }
        if since.elapsed() > backoff::LONGEST {
            self.backoff.reset();
        }
        end
    }

    /// Decides whether to reconnect after a connection has ended, and waits before it.
    ///
    /// # Errors
    /// The task ends: with the cause, or with `None` if the producer was closed.
    async fn after_disconnect(&mut self, end: ConnectionEnd) -> Result<(), Option<Error>> {
        let (error, none_appended) = match end {
            ConnectionEnd::Finished => return Err(None),
            ConnectionEnd::Stopped(stop) => return Err(self.cause_of(stop)),
            ConnectionEnd::Lost(error) => (error, false),
            ConnectionEnd::Refused(error) => {
                let none_appended = !error.maybe_appended();
                (error, none_appended)
            }
        };
        tracing::debug!("a producer's connection ended: {error}");
        self.tell(EventKind::Lost(error.clone()));
        self.outgoing.window.disconnected(none_appended);
        let is_malformed = error.is(Code::MalformedRecords);
        self.malformed += u32::from(is_malformed);
        let may_pass = is_malformed && self.malformed < MALFORMED_MAX;
        if !error.is_retriable() && !may_pass {
            return Err(Some(error));
        }
        if !self.outgoing.is_idempotent() {
            self.outgoing.fail_maybe_appended(&error).map_err(Some)?;
        }
        let wait = self.backoff.next(error.facts().retry_after);
        self.outgoing.set_last_error(error);
        self.tell(EventKind::Again { wait });
        let waited = self.run_until_stopped(tokio::time::sleep(wait)).await;
        waited.map_err(|stop| self.cause_of(stop))
    }

    /// The error that ends the producer; `None` if nothing failed.
    fn cause_of(&self, stop: StopReason) -> Option<Error> {
        match stop {
            StopReason::Done => None,
            StopReason::Abandoned => Some(Error::closed("producer")),
            StopReason::TooLate(error) => {
                self.tell(EventKind::Lost(error.clone()));
                Some(error)
            }
        }
    }

    fn tell(&self, kind: EventKind) {
        self.transport.events().add(Subject::Producer, self.outgoing.log(), kind);
    }

    /// Runs `future`, unless the task has to stop before it is done.
    async fn run_until_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, StopReason> {
        tokio::pin!(future);
        let shared = &self.outgoing.shared;
        loop {
            let now = Instant::now();
            let work = shared.next_work(WorkRequest { now, can_send: false });
            if let Intent::Close { all_settled: true, .. } = work.intent {
                return Err(StopReason::Done);
            }
            let stop_at = self.outgoing.check_deadlines(now, &work)?;
            tokio::select! {
                done = &mut future => return Ok(done),
                () = shared.wait_for_work() => {}
                () = tokio::time::sleep_until(stop_at.into()) => {}
            }
        }
    }
}

impl Drop for ProducerTask {
    /// The client's threads may end at any time. Callers must not wait forever then.
    fn drop(&mut self) {
        if !self.outgoing.shared.is_ended() {
            self.outgoing.end(Some(Error::closed("client")));
        }
        if self.is_open {
            self.tell(EventKind::Closed);
        }
    }
}
