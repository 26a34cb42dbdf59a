//! Upgrades: from an HTTP request to the front end that takes over its socket.
//!
//! ```text
//! http ── UpgradeRequest ──▶ FrontEnd::accept ──▶ AcceptedUpgrade ── 101 ──▶ peer
//!                       (or an Error,         │
//!                        written by http)     └ serve ◀── Socket ── listener
//! ```
//!
//! A front end uses this module and `session`, never http. Invariant: the front end
//! first reads the bytes that arrived with the handshake. It runs in the
//! connection's own task, so limits, counters and the shutdown apply to it as to any
//! other connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use hyper::upgrade::OnUpgrade;
use styx_protocol::{Code, ReadParams};

use crate::app::App;
use crate::auth::{Access, Action, Lease, Rule};
use crate::session::{Error, FollowedBy, KnownLog, OpenLog};
use crate::transport::{PeerAddress, Transport};
use crate::{header, params};

/// A protocol other than HTTP.
pub(crate) trait FrontEnd: fmt::Debug + Send + Sync {
    /// The protocol's name, for metrics and messages.
    fn name(&self) -> &'static str;

    /// Whether an `Upgrade` header with this value asks for it.
    fn speaks(&self, protocol: &str) -> bool;

    /// Whether it supports the version in the handshake's headers. If not, the answer
    /// is 426 with [`versions`](Self::versions).
    fn supports_version(&self, _headers: &HeaderMap) -> bool {
        true
    }

    /// The headers of a 426 that name the supported versions.
    fn versions(&self) -> HeaderMap {
        HeaderMap::new()
    }

    /// Whether a handshake begins a stream that writes. `is_write` says so of its method.
    ///
    /// # Errors
    /// The query cannot be parsed.
    fn writes(&self, is_write: bool, _query: &str) -> Result<bool, Error> {
        Ok(is_write)
    }

    /// Whether programs in browsers use it, which cannot set headers.
    fn is_for_browsers(&self) -> bool {
        false
    }

    /// Accepts or refuses a handshake. An error becomes an HTTP answer.
    fn accept<'a>(
        &'a self,
        request: UpgradeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AcceptedUpgrade, Error>> + Send + 'a>>;
}

/// A handshake.
#[derive(Debug)]
pub(crate) struct UpgradeRequest {
    pub(crate) app: Arc<App>,
    /// The log; it matches what the request knows.
    pub(crate) log: OpenLog,
    pub(crate) known: KnownLog,
    /// POST, or GET with `X-HTTP-Method-Override: POST`.
    pub(crate) is_write: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
    /// Whose request it is, and the name of its log.
    pub(crate) access: Access,
    pub(crate) name: Arc<str>,
    pub(crate) peer: Option<PeerAddress>,
}

impl UpgradeRequest {
    /// When the stream has to end although neither side did anything wrong.
    pub(crate) fn ending(&self, action: Action) -> Ending {
        let app = self.app.clone();
        let rule = Rule::OnLog(action);
        Ending { lease: Lease::new(&app.auth, &self.access, rule, &self.name, self.peer), app }
    }

    /// Who follows, for the list of followers.
    pub(crate) fn follower(&self, protocol: &'static str) -> FollowedBy {
        FollowedBy { protocol, principal: self.access.name().into(), peer: self.peer }
    }

    /// The parameters of a read.
    pub(crate) fn read_params(&self) -> Result<ReadParams, Error> {
        Ok(ReadParams::parse(params::pairs(&self.query))?)
    }

    /// A boolean parameter; `None` when it is missing or empty.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        params::flag(&self.query, name)
    }

    /// A header's text; `None` when it is missing, empty or not text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        header::text(&self.headers, name)
    }
}

/// See [`UpgradeRequest::ending`].
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    app: Arc<App>,
    lease: Lease,
}

impl Ending {
    /// Resolves when the server is stopping, or when the token is no longer valid, with the
    /// error for the peer. Poll one future for the whole stream: to make one costs more than
    /// to poll it.
    pub(crate) fn begun(self) -> EndingBegun {
        EndingBegun(Box::pin(async move {
            tokio::select! {
                () = self.app.shutdown.begun() => {
                    Error::new(Code::ShuttingDown, "the server is stopping; connect again")
                }
                error = self.lease.ended() => error,
            }
        }))
    }
}

/// Whether a stream that fails with this code ends because its peer has lost its access.
pub(crate) fn has_lost_access(code: Code) -> bool {
    matches!(code, Code::Unauthorized | Code::Forbidden)
}

/// The future of [`Ending::begun`]. Poll it no more after it resolved.
pub(crate) struct EndingBegun(Pin<Box<dyn Future<Output = Error> + Send>>);

impl Future for EndingBegun {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for EndingBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndingBegun")
    }
}

/// What a front end does after its 101 is sent.
pub(crate) type Serve = Box<dyn FnOnce(Socket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A handshake that is accepted.
pub(crate) struct AcceptedUpgrade {
    /// Headers of the 101, except `Connection`.
    pub(crate) headers: HeaderMap,
    pub(crate) serve: Serve,
}

impl AcceptedUpgrade {
    /// Answers 101 with these headers, then runs `serve`.
    pub(crate) fn new<F>(
        headers: HeaderMap,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> AcceptedUpgrade
    where
        F: Future<Output = ()> + Send + 'static,
    {
        AcceptedUpgrade { headers, serve: Box::new(move |socket| Box::pin(serve(socket))) }
    }
}

/// A connection after its 101.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    /// Bytes that arrived with the handshake; they come before those in `transport`.
    pub(crate) received: Bytes,
}

/// How a request tells its connection that it was upgraded.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpgradeSlot(Arc<Mutex<Option<PendingUpgrade>>>);

/// A connection that leaves HTTP after its 101.
pub(crate) struct PendingUpgrade {
    pub(crate) protocol: &'static str,
    pub(crate) on_upgrade: OnUpgrade,
    pub(crate) serve: Serve,
}

impl fmt::Debug for PendingUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingUpgrade").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl UpgradeSlot {
    pub(crate) fn put(&self, upgrade: PendingUpgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }

    pub(crate) fn take(&self) -> Option<PendingUpgrade> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
