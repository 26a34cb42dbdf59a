//! [`Connector`]: sends the requests of `object_store` over hyper and rustls.
//!
//! ```text
//! request ─▶ idle connection of this destination, or a new one ─▶ response head ─▶ body
//!                        ▲                                                          │
//!                        └──────────── when the body was read to its end ───────────┘
//! ```
//!
//! A connection carries one request at a time. Invariant: every request ends. Opening a connection
//! has a deadline, and so has each time without progress: no byte of the request was taken by the
//! kernel, and none of the response arrived. A request is sent again only if none of it was sent.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pace::Pace;

/// Idle connections to one destination.
const IDLE_MAX: usize = 32;

/// How long a connection stays idle. Stores close idle connections after 20 s or more.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Sends requests, over as few connections as possible.
#[derive(Debug, Clone)]
pub(super) struct Connector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tls: Arc<rustls::ClientConfig>,
    connect_deadline: Duration,
    stall_deadline: Duration,
    pace: Option<Arc<Pace>>,
    idle: Mutex<HashMap<Destination, Vec<Idle>>>,
}

/// The scheme and authority of a URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Destination {
    encrypted: bool,
    host: String,
    port: u16,
}

type Sender = SendRequest<Counted>;

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Connector {
    pub(super) fn new(
        tls: Arc<rustls::ClientConfig>,
        connect_deadline: Duration,
        stall_deadline: Duration,
        pace: Option<Pace>,
    ) -> Connector {
        let (idle, pace) = (Mutex::default(), pace.map(Arc::new));
        Connector(Arc::new(Shared { tls, connect_deadline, stall_deadline, pace, idle }))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let destination = Destination::of(request.uri())?;
        let (mut request, progress) = prepare(request, self.0.pace.clone())?;
        // Each pass uses up an idle connection, so the loop ends.
        loop {
            let (mut sender, is_new) = match self.0.idle(&destination).await {
                Some(sender) => (sender, false),
                None => (self.0.connect(&destination).await?, true),
            };
            let sent = sender.try_send_request(request);
            let error = match self.0.while_it_moves(sent, &progress).await? {
                Ok(response) => return Ok(self.0.clone().respond(response, sender, destination)),
                Err(error) => error,
            };
            let mut error = error;
            match error.take_message() {
                // The connection was closed before any byte of the request was sent.
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(HttpError::new(HttpErrorKind::Interrupted, error.into_error())),
            }
        }
    }
}

impl Destination {
    fn of(uri: &Uri) -> Result<Destination, HttpError> {
        let encrypted = uri.scheme() != Some(&Scheme::HTTP);
        let Some(host) = uri.host() else {
            return Err(failed(HttpErrorKind::Connect, format!("{uri}: no host")));
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Destination { encrypted, host, port })
    }
}

/// The request as it goes over the connection: the path alone, and the header `Host`.
fn prepare(
    request: HttpRequest,
    pace: Option<Arc<Pace>>,
) -> Result<(http::Request<Counted>, Arc<AtomicU64>), HttpError> {
    let (mut head, body) = request.into_parts();
    let invalid = |e: http::Error| HttpError::new(HttpErrorKind::Request, e);
    if !head.headers.contains_key(HOST)
        && let Some(authority) = head.uri.authority()
    {
        let host = HeaderValue::try_from(authority.as_str()).map_err(|e| invalid(e.into()))?;
        head.headers.insert(HOST, host);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = Uri::try_from(path).map_err(|e| invalid(e.into()))?;
    let progress = Arc::new(AtomicU64::new(0));
    let body = Counted { body, taken: progress.clone(), pace, pause: None };
    Ok((http::Request::from_parts(head, body), progress))
}

impl Shared {
    /// A connection that is open and has no request.
    async fn idle(&self, destination: &Destination) -> Option<Sender> {
        loop {
            let mut idle = self.take_idle(destination)?;
            if idle.since.elapsed() < IDLE_TIME && idle.sender.ready().await.is_ok() {
                return Some(idle.sender);
            }
        }
    }

    fn take_idle(&self, destination: &Destination) -> Option<Idle> {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(destination)?.pop()
    }

    fn keep_idle(&self, destination: Destination, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = all.entry(destination).or_default();
        idle.retain(|idle| idle.since.elapsed() < IDLE_TIME && !idle.sender.is_closed());
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn connect(&self, destination: &Destination) -> Result<Sender, HttpError> {
        let opened = tokio::time::timeout(self.connect_deadline, self.open(destination)).await;
        let Destination { host, port, .. } = destination;
        match opened {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(e)) => Err(failed(HttpErrorKind::Connect, format!("{host}:{port}: {e}"))),
            Err(_) => {
                let deadline = self.connect_deadline;
                let why = format!("{host}:{port}: not connected after {deadline:?}");
                Err(failed(HttpErrorKind::Connect, why))
            }
        }
    }

    async fn open(&self, destination: &Destination) -> io::Result<Sender> {
        let Destination { encrypted, host, port } = destination;
        let socket = TcpStream::connect((host.as_str(), *port)).await?;
        socket.set_nodelay(true)?;
        if !encrypted {
            return start(socket).await;
        }
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        start(TlsConnector::from(self.tls.clone()).connect(name, socket).await?).await
    }

    /// Waits for `answer`, unless the request makes no progress for the deadline.
    async fn while_it_moves<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: &AtomicU64,
    ) -> Result<T, HttpError> {
        let mut answer = std::pin::pin!(answer);
        let mut seen = progress.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(self.stall_deadline, answer.as_mut()).await {
                Ok(answer) => return Ok(answer),
                Err(_) => {
                    let now = progress.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(stalled(self.stall_deadline));
                    }
                    seen = now;
                }
            }
        }
    }

    fn respond(
        self: Arc<Shared>,
        response: http::Response<Incoming>,
        sender: Sender,
        destination: Destination,
    ) -> HttpResponse {
        let (head, body) = response.into_parts();
        let deadline = self.stall_deadline;
        let connection = Some((self, destination, sender));
        let stall = Box::pin(tokio::time::sleep(deadline));
        let body = Received { body, connection, stall, deadline };
        HttpResponse::from_parts(head, HttpResponseBody::new(body))
    }
}

async fn start(
    socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
) -> io::Result<Sender> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    // Ends when the sender was dropped. Its errors also reach the request.
    tokio::spawn(connection);
    Ok(sender)
}

fn stalled(deadline: Duration) -> HttpError {
    failed(HttpErrorKind::Timeout, format!("no progress for {deadline:?}"))
}

fn failed(kind: HttpErrorKind, why: String) -> HttpError {
    HttpError::new(kind, io::Error::other(why))
}

/// The body of a request, which counts what was taken from it and keeps to the pace.
#[derive(Debug)]
struct Counted {
    body: HttpRequestBody,
    taken: Arc<AtomicU64>,
    pace: Option<Arc<Pace>>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(pace), Some(Ok(frame))) = (&self.pace, &frame)
            && let Some(data) = frame.data_ref()
        {
            let pause = pace.pause_after(data.len());
            self.pause = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response. Its connection becomes idle when it was read to its end.
struct Received {
    body: Incoming,
    connection: Option<(Arc<Shared>, Destination, Sender)>,
    stall: Pin<Box<tokio::time::Sleep>>,
    deadline: Duration,
}

impl Received {
    fn finish(&mut self) {
        if let Some((shared, destination, sender)) = self.connection.take() {
            shared.keep_idle(destination, sender);
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            ready!(self.stall.as_mut().poll(cx));
            return Poll::Ready(Some(Err(stalled(self.deadline))));
        }
        let next = tokio::time::Instant::now() + self.deadline;
        self.stall.as_mut().reset(next);
        let frame = ready!(polled);
        if frame.is_none() || self.body.is_end_stream() {
            self.finish();
        }
        Poll::Ready(
            frame.map(|frame| frame.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // The answer to a HEAD or DELETE has no body, and nobody polls it.
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}
