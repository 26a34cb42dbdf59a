//! One request, one answer, over HTTP/1.1.
//!
//! Up to [`IDLE_CONNECTIONS_MAX`](super::IDLE_CONNECTIONS_MAX) connections are
//! kept and used again. A request that a kept connection did not take any more
//! goes out on a new one; apart from that nothing is sent twice here.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::deaf::Deaf;
use super::{Request, Transport, refusal};
use crate::error::{Error, Kind};

/// Most of an error answer that is looked at.
pub(super) const ERROR_BODY_BYTES_MAX: usize = 64 << 10;

/// What is sent along with a request.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// These bytes.
    Whole(Bytes),
    /// Pieces as they come, of unknown length. When the channel closes before
    /// [`Piece::End`], the request is aborted.
    Stream(mpsc::Receiver<Piece>),
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Data(Bytes),
    /// There are no more.
    End,
}

/// The caller gave up in the middle of a body.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request was given up")]
pub(crate) struct Aborted;

/// A connection for requests, one after the other.
#[derive(Debug)]
pub(super) struct Connection(pub(super) SendRequest<Body>);

impl Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A good answer: its head, and its body as it comes.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Kept when the body has been read whole.
    connection: Option<Connection>,
    transport: Arc<Transport>,
}

impl Transport {
    /// A new connection for requests, with a task that serves it.
    pub(super) async fn open(&self) -> Result<Connection, Error> {
        let socket = self.connect().await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(Deaf::new(socket))).await.map_err(|e| self.lost(&e))?;
        // With upgrades: both kinds of request open their connection here.
        tokio::spawn(async move {
            if let Err(e) = connection.with_upgrades().await {
                tracing::debug!("a connection ended: {e}");
            }
        });
        Ok(Connection(sender))
    }

    /// Sends a request and waits for the head of a good answer.
    ///
    /// # Errors
    /// No connection, or an answer that is not 2xx.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &Request,
        body: Body,
    ) -> Result<Answer, Error> {
        let mut built = self.build(request, body)?;
        while let Some(mut kept) = self.kept() {
            match kept.0.try_send_request(built).await {
                Ok(response) => return self.answered(response, kept).await,
                Err(mut failed) => match failed.take_message() {
                    Some(untouched) => built = untouched,
                    // It may have been taken; one that changes nothing goes again.
                    None if request.is_safe() => {
                        built = self.build(request, Body::Empty)?;
                        break;
                    }
                    None => return Err(self.lost(failed.error()).with_maybe_appended(true)),
                },
            }
        }
        let mut connection = self.open().await?;
        match connection.0.send_request(built).await {
            Ok(response) => self.answered(response, connection).await,
            Err(e) => Err(self.lost(&e).with_maybe_appended(!request.is_safe())),
        }
    }

    async fn answered(
        self: &Arc<Self>,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let transport = Arc::clone(self);
        let connection = Some(connection);
        let mut answer =
            Answer { status: head.status, headers: head.headers, body, connection, transport };
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(answer.refusal().await)
    }

    pub(super) fn lost(&self, error: &hyper::Error) -> Error {
        let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
        let text = format!("the connection to {} broke: {error}{cause}", self.address);
        Error::new(Kind::ConnectionFailed, text)
    }
}

impl Answer {
    /// For an answer on a connection that is not used again.
    pub(super) fn of(response: Response<Incoming>, transport: Arc<Transport>) -> Answer {
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body, connection: None, transport }
    }

    /// The headers, which are not kept.
    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke before the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let next = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_trailers) => {}
                },
                Some(Err(e)) => {
                    self.connection = None;
                    return Err(self.transport.lost(&e));
                }
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.transport.keep(connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body, which is known to be small.
    ///
    /// # Errors
    /// The connection broke, or there are more than `bytes_max`.
    pub(crate) async fn bytes(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > bytes_max {
                let text = format!("the server's answer has more than {bytes_max} bytes");
                return Err(Error::bad_answer(text));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The error that this answer is.
    pub(super) async fn refusal(&mut self) -> Error {
        // Without its body an error still has a status.
        let body = self.bytes(ERROR_BODY_BYTES_MAX).await.unwrap_or_default();
        refusal::error(self.status, &self.headers, &body)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            body @ Body::Whole(_) => match std::mem::replace(body, Body::Empty) {
                Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            body @ Body::Stream(_) => {
                let Body::Stream(pieces) = body else { return Poll::Ready(None) };
                let piece = std::task::ready!(pieces.poll_recv(cx));
                Poll::Ready(match piece {
                    Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(Piece::End) => {
                        *body = Body::Empty;
                        None
                    }
                    None => Some(Err(Aborted)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
