//! Upgrades a request to a socket that speaks styx/1.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use styx_protocol::handshake::Protocol;

use super::http::StreamingResponse;
use super::read_after_write_error::ReadAfterWriteError;
use super::{Request, RequestBody, Socket, Transport};
use crate::error::{Error, Facts, Kind};

/// The requested protocol.
const PROTOCOL: &str = Protocol::Styx1.token();

/// A socket after its 101.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// The connection.
    pub(crate) socket: Socket,
    /// The first bytes of the stream, which arrived together with the 101.
    pub(crate) read: Bytes,
    /// The headers of the 101.
    headers: HeaderMap,
}

impl Upgraded {
    /// A header's text, if the header exists.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// A header's value, if the header exists.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] if the value cannot be parsed.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let parsed = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        match parsed {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(Error::bad_answer(format!(
                "the server's response has an invalid header {name}: {value:?}"
            ))),
        }
    }

    /// The value of a header that every 101 must have.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] if it is missing or cannot be parsed.
    pub(crate) fn required<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        self.parsed(name)?
            .ok_or_else(|| Error::bad_answer(format!("the server's response has no header {name}")))
    }
}

impl Transport {
    /// Sends a request with `Upgrade: styx/1` on a connection of its own. The server must
    /// respond within the call timeout.
    ///
    /// # Errors
    /// No connection; the server's error; [`Kind::BadAnswer`] if the server switches to
    /// another protocol, or if it or a proxy ignores or refuses the upgrade
    /// ([`Facts::refused_upgrade`]).
    pub(crate) async fn upgrade(self: &Arc<Self>, request: &Request) -> Result<Upgraded, Error> {
        let mut connection = self.open().await?;
        let timeout = self.options.call_timeout;
        let response = self.request_upgrade(&mut connection, request);
        match tokio::time::timeout(timeout, response).await {
            Ok(upgraded) => upgraded,
            Err(_) => {
                let text = format!("{} did not respond within {timeout:?}", self.address);
                Err(Error::new(Kind::TimedOut, text))
            }
        }
    }

    async fn request_upgrade(
        self: &Arc<Self>,
        connection: &mut super::http::HttpConnection,
        request: &Request,
    ) -> Result<Upgraded, Error> {
        let mut built = self.build(request, RequestBody::Empty)?;
        built.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        built.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        let sent = connection.sender.send_request(built).await;
        let mut response = sent.map_err(|e| connection.lost(self, &e))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.error_of(response).await);
        }
        let agreed = response.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
        if !agreed.is_some_and(|agreed| agreed.trim().eq_ignore_ascii_case(PROTOCOL)) {
            let text = format!("{} switched to {agreed:?} instead of {PROTOCOL}", self.address);
            return Err(Error::bad_answer(text));
        }
        let upgraded = hyper::upgrade::on(&mut response).await;
        let upgraded = upgraded.map_err(|e| connection.lost(self, &e))?;
        let headers = std::mem::take(response.headers_mut());
        match upgraded.downcast::<TokioIo<ReadAfterWriteError>>() {
            Ok(parts) => {
                let mut socket = parts.io.into_inner().into_inner();
                socket.becomes_stream();
                Ok(Upgraded { socket, read: parts.read_buf, headers })
            }
            Err(_) => Err(Error::bad_answer("the connection was not available after its upgrade")),
        }
    }

    async fn error_of(self: &Arc<Self>, response: http::Response<hyper::body::Incoming>) -> Error {
        let status = response.status();
        // The body of a success is a record, which may be large.
        if !status.is_success() {
            let response = StreamingResponse::of(response, Arc::clone(self));
            let (error, is_from_styx) = match response.into_error().await {
                Ok(reported) => reported,
                Err(broken) => return broken,
            };
            if is_from_styx || !refuses_upgrade(status) {
                return error;
            }
        }
        let text = format!(
            "{} answered {status} instead of switching to {PROTOCOL}: a proxy in front of the \
             server may not pass on HTTP upgrades, or it is not a Styx server of version 1 or later",
            self.address
        );
        let facts = Facts { refused_upgrade: Some(status.as_u16()), ..Facts::default() };
        Error::with_facts(Kind::BadAnswer, text, facts)
    }
}

/// Whether a proxy means the upgrade with this status. The others are about the caller's rights,
/// or say that the server cannot be reached at present.
fn refuses_upgrade(status: StatusCode) -> bool {
    match status.as_u16() {
        401 | 407 | 408 | 429 => false,
        501 | 505 => true,
        _ => status.is_client_error(),
    }
}
