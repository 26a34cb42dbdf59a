//! From a request to a socket that speaks styx/1.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use styx_protocol::handshake::Protocol;

use super::deaf::Deaf;
use super::http::Answer;
use super::{Body, Request, Socket, Transport};
use crate::error::{Error, Kind};

/// The protocol that is asked for.
const PROTOCOL: &str = Protocol::Styx1.token();

/// A socket after its 101.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// The connection.
    pub(crate) socket: Socket,
    /// Bytes of the stream that arrived together with the 101: they come first.
    pub(crate) read: Bytes,
    /// The headers of the 101.
    headers: HeaderMap,
}

impl Upgraded {
    /// A header's text, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// A header's value, if it is there.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] when it is there and cannot be parsed.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let parsed = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        match parsed {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(Error::bad_answer(format!("the server's answer has {name}: {value:?}"))),
        }
    }

    /// A header's value that every 101 has.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`] when it is missing or cannot be parsed.
    pub(crate) fn required<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        self.parsed(name)?
            .ok_or_else(|| Error::bad_answer(format!("the server's answer has no {name}")))
    }
}

impl Transport {
    /// Sends a request with `Upgrade: styx/1` on a connection of its own. The
    /// server has the call time-out to answer.
    ///
    /// # Errors
    /// No connection; the server's refusal; [`Kind::BadAnswer`] when the peer
    /// agrees to something else.
    pub(crate) async fn upgrade(self: &Arc<Self>, request: &Request) -> Result<Upgraded, Error> {
        let mut connection = self.open().await?;
        let patience = self.options.call_timeout;
        let asked = self.ask(&mut connection, request);
        match tokio::time::timeout(patience, asked).await {
            Ok(answered) => answered,
            Err(_) => {
                let text = format!("{} did not answer within {patience:?}", self.address);
                Err(Error::new(Kind::TimedOut, text))
            }
        }
    }

    async fn ask(
        self: &Arc<Self>,
        connection: &mut super::http::Connection,
        request: &Request,
    ) -> Result<Upgraded, Error> {
        let mut built = self.build(request, Body::Empty)?;
        built.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        built.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        let mut response = connection.0.send_request(built).await.map_err(|e| self.lost(&e))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refused(response).await);
        }
        let agreed = response.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
        if !agreed.is_some_and(|agreed| agreed.trim().eq_ignore_ascii_case(PROTOCOL)) {
            let text = format!("{} switches to {agreed:?}, not to {PROTOCOL}", self.address);
            return Err(Error::bad_answer(text));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|e| self.lost(&e))?;
        let headers = std::mem::take(response.headers_mut());
        match upgraded.downcast::<TokioIo<Deaf>>() {
            Ok(parts) => Ok(Upgraded {
                socket: parts.io.into_inner().into_inner(),
                read: parts.read_buf,
                headers,
            }),
            Err(_) => Err(Error::bad_answer("the connection was not given back after its upgrade")),
        }
    }

    async fn refused(self: &Arc<Self>, response: http::Response<hyper::body::Incoming>) -> Error {
        if response.status().is_success() {
            let text = format!("{} does not speak {PROTOCOL}", self.address);
            return Error::bad_answer(text);
        }
        Answer::of(response, Arc::clone(self)).refusal().await
    }
}
