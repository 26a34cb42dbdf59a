//! Requests and their responses, one after the other on a connection.
//!
//! A connection whose response was read completely is kept and used again. If a kept
//! connection did not accept a request, the request is sent on a new one. Apart from
//! that, nothing is sent twice here.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::read_after_write_error::ReadAfterWriteError;
use super::{Request, Transport, server_error};
use crate::error::{Error, Kind};
use crate::runtime::catch_panic;

/// The most bytes that are read of an error response.
pub(super) const ERROR_BODY_BYTES_MAX: usize = 64 << 10;

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// No body.
    Empty,
    /// These bytes.
    Whole(Bytes),
    /// Parts as they arrive, of unknown total length. If the channel closes before
    /// [`BodyPart::End`], the request is aborted.
    Stream(mpsc::Receiver<BodyPart>),
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum BodyPart {
    /// Bytes.
    Data(Bytes),
    /// The end of the body.
    End,
}

/// The caller stopped in the middle of a body.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request was aborted by its caller")]
pub(crate) struct Aborted;

/// A connection for requests, one at a time.
#[derive(Debug)]
pub(super) struct HttpConnection {
    pub(super) sender: SendRequest<RequestBody>,
    /// Set if the task that drives the connection has panicked.
    panicked: Arc<OnceLock<Error>>,
}

impl HttpConnection {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// The error for a request that failed on this connection.
    pub(super) fn lost(&self, transport: &Transport, error: &hyper::Error) -> Error {
        self.panicked.get().cloned().unwrap_or_else(|| transport.lost(error))
    }
}

/// A successful response: its head, and its body as it arrives.
#[derive(Debug)]
pub(crate) struct StreamingResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Kept for the next request once the body was read completely.
    connection: Option<HttpConnection>,
    transport: Arc<Transport>,
}

impl Transport {
    /// Opens a connection for requests, with a task that drives it.
    pub(super) async fn open(&self) -> Result<HttpConnection, Error> {
        let socket = self.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(ReadAfterWriteError::new(socket)))
            .await
            .map_err(|e| self.lost(&e))?;
        // With upgrades, because streams open their connections here too.
        let panicked = Arc::new(OnceLock::new());
        let told = Arc::clone(&panicked);
        let address = self.address.clone();
        tokio::spawn(async move {
            let ended = catch_panic(async {
                tracing::debug!(%address, "a connection is open");
                if let Err(e) = connection.with_upgrades().await {
                    tracing::debug!("a connection ended: {e}");
                }
                Ok(())
            });
            if let Err(panic) = ended.await {
                told.get_or_init(|| panic);
            }
        });
        Ok(HttpConnection { sender, panicked })
    }

    /// Sends a request and waits for the head of a successful response.
    ///
    /// # Errors
    /// No connection, or a response that is not 2xx.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &Request,
        body: RequestBody,
    ) -> Result<StreamingResponse, Error> {
        let mut built = self.build(request, body)?;
        while let Some(mut idle) = self.take_idle() {
            match idle.sender.try_send_request(built).await {
                Ok(response) => return self.response(request, response, idle).await,
                Err(mut failed) => match failed.take_message() {
                    Some(untouched) => built = untouched,
                    // The server may have received it. A safe request may be sent again.
                    None if request.is_safe() => {
                        built = self.build(request, RequestBody::Empty)?;
                        break;
                    }
                    None => {
                        let error = idle.lost(self, failed.error());
                        return Err(error.with_maybe_appended(true));
                    }
                },
            }
        }
        let mut connection = self.open().await?;
        match connection.sender.send_request(built).await {
            Ok(response) => self.response(request, response, connection).await,
            Err(e) => Err(connection.lost(self, &e).with_maybe_appended(!request.is_safe())),
        }
    }

    pub(super) async fn response(
        self: &Arc<Self>,
        request: &Request,
        response: Response<Incoming>,
        connection: HttpConnection,
    ) -> Result<StreamingResponse, Error> {
        let (head, body) = response.into_parts();
        let transport = Arc::clone(self);
        let connection = Some(connection);
        let response = StreamingResponse {
            status: head.status,
            headers: head.headers,
            body,
            connection,
            transport,
        };
        if response.status.is_success() {
            return Ok(response);
        }
        let status = response.status;
        let (error, is_from_styx) =
            response.into_error().await.unwrap_or_else(|broken| (broken, false));
        // A proxy sends 504, for example, although the server carries the request out.
        let in_doubt = status.is_server_error() && !is_from_styx && !request.is_safe();
        Err(if in_doubt { error.with_maybe_appended(true) } else { error })
    }

    pub(super) fn lost(&self, error: &hyper::Error) -> Error {
        let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
        let text = format!("the connection to {} broke: {error}{cause}", self.address);
        Error::new(Kind::ConnectionFailed, text)
    }
}

impl StreamingResponse {
    /// A response on a connection that is not used again.
    pub(super) fn of(response: Response<Incoming>, transport: Arc<Transport>) -> StreamingResponse {
        let (head, body) = response.into_parts();
        StreamingResponse {
            status: head.status,
            headers: head.headers,
            body,
            connection: None,
            transport,
        }
    }

    /// Moves the headers out.
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The next part of the body; `None` at its end.
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
                    return Err(match self.connection.take() {
                        Some(connection) => connection.lost(&self.transport, &e),
                        None => self.transport.lost(&e),
                    });
                }
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.transport.put_idle(connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The complete body, which must be small.
    ///
    /// # Errors
    /// The connection broke, or the body is larger than `bytes_max`.
    pub(crate) async fn bytes(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > bytes_max {
                let text = format!("the server's response is larger than {bytes_max} bytes");
                return Err(Error::bad_answer(text));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The error that this response reports, and whether it comes from a Styx server.
    ///
    /// # Errors
    /// The connection broke in the middle of the response, so it is not known what it reports.
    pub(super) async fn into_error(mut self) -> Result<(Error, bool), Error> {
        let body = match self.bytes(ERROR_BODY_BYTES_MAX).await {
            Err(error) if error.kind() == Kind::ConnectionFailed => return Err(error),
            // If the body is too large, the status is still known.
            body => body.unwrap_or_default(),
        };
        let error = server_error::error_from_response(self.status, &self.headers, &body);
        Ok((error, server_error::is_from_styx(&body)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            body @ RequestBody::Whole(_) => match std::mem::replace(body, RequestBody::Empty) {
                RequestBody::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            body @ RequestBody::Stream(_) => {
                let RequestBody::Stream(parts) = body else { return Poll::Ready(None) };
                let part = std::task::ready!(parts.poll_recv(cx));
                Poll::Ready(match part {
                    Some(BodyPart::Data(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(BodyPart::End) => {
                        *body = RequestBody::Empty;
                        None
                    }
                    None => Some(Err(Aborted)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RequestBody::Stream(_) => SizeHint::default(),
        }
    }
}
