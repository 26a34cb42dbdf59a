//! [`Link`]: the task that owns a producer's window and its connections.
//!
//! ```text
//! connect ─▶ learn ─▶ serve ─▶ lost ─▶ judge ─┬▶ back off ─▶ connect
//!                                             └▶ end: everything unacked fails
//! ```
//! It ends when the producer is closed or dropped, when an error cannot be
//! mended, and when the oldest record's deadline is missed.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::block::{Codec, Origin};
use styx_protocol::codec::Codecs;
use styx_protocol::frame::Ack;
use styx_protocol::{Code, Position};
use tokio::sync::oneshot;

use super::connection::{self, End};
use super::filling::Filled;
use super::handshake::{Known, Welcome};
use super::options::Settings;
use super::sealed::{Fate, Sealed};
use super::shared::{Asked, Shared, Turn, Wish};
use super::window::Window;
use super::{Opened, Producer};
use crate::backoff::{self, Backoff};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::transport::{Transport, Upgraded};

/// See the module.
pub(super) struct Link {
    pub(super) transport: Arc<Transport>,
    pub(super) shared: Arc<Shared>,
    pub(super) window: Window,
    settings: Settings,
    known: Known,
    backoff: Backoff,
    /// Where the first block has to stand; taken by it.
    expected_position: Option<Position>,
    /// Why the last connection ended, for when the deadline is missed.
    last_error: Option<Error>,
    /// Times in a row, without an ack, that the server found the stream
    /// malformed. A network that ends a connection in the middle of a frame makes
    /// that of good bytes; what is really wrong is wrong each time.
    malformed: u32,
}

/// So often in a row it is really wrong.
const MALFORMED_MAX: u32 = 5;

/// Why the link has to stop.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is nothing left to do.
    Done,
    /// The handle is gone.
    Abandoned,
    /// It took too long.
    TooLate(Error),
}

/// Starts a link and waits until its first connection stands.
pub(super) async fn open(client: Client, settings: Settings) -> Result<Producer, Error> {
    let process = client.runtime().process();
    process.check()?;
    let shared = Arc::new(Shared::new(settings.limits, settings.linger, process));
    let close_timeout = settings.close_timeout;
    let link = Link {
        transport: Arc::clone(client.transport()),
        shared: Arc::clone(&shared),
        window: Window::default(),
        known: Known::new(settings.identity),
        backoff: Backoff::random(),
        expected_position: settings.expected_position.map(Position),
        last_error: None,
        malformed: 0,
        settings,
    };
    let (opened, answer) = oneshot::channel();
    client.runtime().spawn(link.run(opened));
    // Should this future be dropped, so is the answer, and the link ends.
    let first = answer.await.map_err(|_| Error::closed("client"))??;
    Ok(Producer { shared, client, opened: Opened { close_timeout, ..first } })
}

impl Link {
    async fn run(mut self, mut opened: oneshot::Sender<Result<Opened, Error>>) {
        let first = tokio::select! {
            first = self.open() => first,
            () = opened.closed() => return,
        };
        let first = match first {
            Ok(first) => first,
            Err(error) => {
                self.end(Some(error.clone()));
                drop(opened.send(Err(error)));
                return;
            }
        };
        let answer = self.opened(&first.1);
        if opened.send(Ok(answer)).is_err() {
            return;
        }
        let mut next = Some(first);
        loop {
            let end = match next.take() {
                Some((upgraded, welcome)) => {
                    let since = Instant::now();
                    let end = connection::serve(&mut self, upgraded, welcome).await;
                    if since.elapsed() > backoff::LONGEST {
                        self.backoff.reset();
                    }
                    end
                }
                None => match self.until_stopped(self.connect()).await {
                    Ok(Ok((upgraded, welcome))) => match self.learn(&welcome) {
                        Ok(()) => {
                            next = Some((upgraded, welcome));
                            continue;
                        }
                        Err(error) => End::Lost(error),
                    },
                    Ok(Err(error)) => End::Lost(error),
                    Err(stop) => End::Stopped(stop),
                },
            };
            if let Err(cause) = self.judge(end).await {
                return self.end(cause);
            }
        }
    }

    /// The first connection: tried again until the call time-out is over.
    async fn open(&mut self) -> Result<(Upgraded, Welcome), Error> {
        let patience = self.transport.options().call_timeout;
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.connect()).await {
                Ok(Ok((upgraded, welcome))) => {
                    self.known.learn(&welcome, None)?;
                    self.shared.start_at(welcome.next_sequence.unwrap_or(0));
                    self.shared.set_limits(welcome.blocks_max, welcome.block_bytes_max);
                    return Ok((upgraded, welcome));
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    let text = format!("no answer within {patience:?}");
                    return Err(self.last_error.take().unwrap_or(Error::new(Kind::TimedOut, text)));
                }
            };
            let wait = self.backoff.next(error.facts().retry_after);
            let in_time = Instant::now() + wait < end;
            if !(error.is_retriable() && self.transport.options().retry && in_time) {
                return Err(error);
            }
            self.last_error = Some(error);
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self) -> Result<(Upgraded, Welcome), Error> {
        let silence = self.transport.options().silence_timeout;
        let request = self.known.request(&self.settings, silence);
        let upgraded = self.transport.upgrade(&request).await?;
        let welcome = Welcome::read(&upgraded, self.known.identity().is_some())?;
        Ok((upgraded, welcome))
    }

    fn opened(&self, welcome: &Welcome) -> Opened {
        let identity = self.known.identity();
        Opened {
            log_id: welcome.log_id,
            producer_id: identity.map(|identity| identity.id.get()),
            epoch: identity.and_then(|identity| identity.epoch),
            block_bytes_max: welcome.block_bytes_max,
            codec: self.codec(welcome.codecs),
            close_timeout: Duration::ZERO,
        }
    }

    fn learn(&mut self, welcome: &Welcome) -> Result<(), Error> {
        let next = self.shared.next_unsent();
        self.known.learn(welcome, Some(self.window.sequences().unwrap_or((next, next))))?;
        self.shared.set_limits(welcome.blocks_max, welcome.block_bytes_max);
        Ok(())
    }

    /// Whether the link goes on after this end of a connection, and when.
    ///
    /// # Errors
    /// It does not: the cause, or none when all is well.
    async fn judge(&mut self, end: End) -> Result<(), Option<Error>> {
        let (error, none_appended) = match end {
            End::Finished | End::Stopped(Stop::Done) => return Err(None),
            End::Stopped(Stop::Abandoned) => return Err(Some(Error::closed("producer"))),
            End::Stopped(Stop::TooLate(error)) => return Err(Some(error)),
            End::Lost(error) => (error, false),
            End::Refused(error) => {
                let none_appended = !error.maybe_appended();
                (error, none_appended)
            }
        };
        tracing::debug!(log = %self.settings.log, "a producer's connection ended: {error}");
        self.window.disconnected(none_appended);
        let is_malformed = error.is(Code::MalformedRecords);
        self.malformed += u32::from(is_malformed);
        let may_pass = is_malformed && self.malformed < MALFORMED_MAX;
        if !error.is_retriable() && !may_pass {
            return Err(Some(error));
        }
        if self.known.identity().is_none() {
            self.give_up_doubtful(&error)?;
        }
        let wait = self.backoff.next(error.facts().retry_after);
        self.last_error = Some(error);
        match self.until_stopped(tokio::time::sleep(wait)).await {
            Ok(()) => Ok(()),
            Err(Stop::Done) => Err(None),
            Err(Stop::Abandoned) => Err(Some(Error::closed("producer"))),
            Err(Stop::TooLate(error)) => Err(Some(error)),
        }
    }

    /// Without an id, what may have been appended cannot be sent again.
    fn give_up_doubtful(&mut self, error: &Error) -> Result<(), Option<Error>> {
        let doubtful = self.window.take_doubtful();
        let error = error.clone().with_maybe_appended(true);
        let any = !doubtful.is_empty();
        for block in doubtful {
            self.shared.failed(&block.outcome, block.raw_bytes, block.end(), error.clone());
        }
        // Where the next block would have to stand is not known any more.
        match any && self.settings.expected_position.is_some() {
            true => Err(Some(error)),
            false => Ok(()),
        }
    }

    /// Does this, unless the link has to stop first.
    async fn until_stopped<T>(&self, doing: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::pin!(doing);
        loop {
            let now = Instant::now();
            let turn = self.shared.turn(Asked { now, can_send: false });
            if let Wish::Close { all_settled: true, .. } = turn.wish {
                return Err(Stop::Done);
            }
            let stop_at = self.look(now, &turn)?;
            tokio::select! {
                done = &mut doing => return Ok(done),
                () = self.shared.news() => {}
                () = tokio::time::sleep_until(stop_at.into()) => {}
            }
        }
    }

    /// Until when the link may go on without looking again.
    pub(super) fn look(&self, now: Instant, turn: &Turn) -> Result<Instant, Stop> {
        let oldest = self.window.oldest().or(turn.oldest).unwrap_or(now);
        let missed_at = oldest + self.settings.deadline;
        if now >= missed_at {
            return Err(Stop::TooLate(self.too_late("acked", self.settings.deadline)));
        }
        match turn.wish {
            Wish::GoOn => Ok(missed_at),
            Wish::Abandon => Err(Stop::Abandoned),
            Wish::Close { before, all_settled } if now >= before => match all_settled {
                true => Err(Stop::Done),
                false => Err(Stop::TooLate(self.too_late("closed", self.settings.close_timeout))),
            },
            Wish::Close { before, .. } => Ok(missed_at.min(before)),
        }
    }

    fn too_late(&self, what: &str, limit: Duration) -> Error {
        let why = match &self.last_error {
            Some(error) => format!("; before, {error}"),
            None => String::new(),
        };
        Error::new(Kind::TimedOut, format!("not {what} within {limit:?}{why}"))
    }

    /// Decides a block's bytes and puts it into the window.
    pub(super) fn take(&mut self, filled: Filled, granted: Codecs) {
        let identity = self.known.identity();
        let origin = Origin {
            producer_id: identity.map_or(0, |identity| identity.id.get()),
            producer_epoch: identity.and_then(|identity| identity.epoch).unwrap_or(0),
            sequence: identity.map_or(0, |_| filled.first),
            expected: self.expected_position.take(),
        };
        self.window.push(Sealed::seal(filled, origin, self.codec(granted)));
    }

    fn codec(&self, granted: Codecs) -> Codec {
        let asked = self.settings.compression;
        if granted.contains(asked) { asked } else { Codec::None }
    }

    /// Whether the log may forget this producer when it is closed.
    pub(super) fn is_forgettable(&self) -> bool {
        self.known.identity().is_some_and(|identity| identity.drawn)
    }

    pub(super) fn acked(&mut self, ack: &Ack) -> Result<(), Error> {
        let settled = self.window.ack(ack)?;
        let Some(last) = settled.blocks.last() else { return Ok(()) };
        self.known.acked(settled.end_position);
        self.last_error = None;
        self.malformed = 0;
        self.backoff.reset();
        let before = last.end();
        self.shared.acked(settled.blocks.iter().map(|block| block.raw_bytes), before);
        Ok(())
    }

    /// Everything that is not acked fails, and the producer with it.
    fn end(&mut self, cause: Option<Error>) {
        let error = cause.clone().unwrap_or_else(|| Error::closed("producer"));
        let unacked = self.window.drain().into_iter().map(|block| {
            let doubtful = match block.fate {
                Fate::NotSent => false,
                Fate::SentHere | Fate::SentBefore => true,
            };
            (block.outcome, error.clone().with_maybe_appended(doubtful))
        });
        self.shared.end(cause.as_ref(), unacked.collect());
    }
}

impl Drop for Link {
    /// The client's threads may end at any time: nobody waits for ever then.
    fn drop(&mut self) {
        if !self.shared.is_ended() {
            self.end(Some(Error::closed("client")));
        }
    }
}
