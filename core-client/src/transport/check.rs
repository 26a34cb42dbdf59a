//! The check that the peer is a Styx server which this client can use: `GET /version`.

use std::sync::Arc;

use styx_protocol::Code;
use tokio::time::{Instant, timeout_at};

use super::http::HttpConnection;
use super::{Request, RequestBody, StreamingResponse, Transport};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};
use crate::options::UNKNOWN_HOST_TIMEOUT;
use crate::server_info::ServerInfo;

const PATH: &str = "/version";
/// The most bytes of the response. Any server's is far smaller.
const ANSWER_BYTES_MAX: usize = 64 << 10;

impl Transport {
    /// Asks the peer for its version, within the connect timeout, on a connection that is
    /// kept for the next request. Only an unknown host is tried again.
    ///
    /// # Errors
    /// No connection; no response in time; the peer is no server, or one that is too old.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<ServerInfo, Error> {
        let timeout = self.options.connect_timeout;
        let end = Instant::now() + timeout;
        let opening = timeout_at(end, self.open_known_host()).await;
        let connection = opening.unwrap_or_else(|_| Err(self.no_response()))?;
        timeout_at(end, self.ask_version(connection)).await.unwrap_or_else(|_| {
            let text = format!(
                "{} accepts connections, but did not answer GET {PATH} within {timeout:?}: it \
                 hangs, or it is not a Styx server",
                self.address
            );
            Err(Error::timed_out(text))
        })
    }

    /// Opens a connection. Waits until the host is known, for [`UNKNOWN_HOST_TIMEOUT`].
    async fn open_known_host(&self) -> Result<HttpConnection, Error> {
        let end = Instant::now() + UNKNOWN_HOST_TIMEOUT;
        let mut backoff = Backoff::random();
        loop {
            let error = match self.open().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let wait = backoff.next(None);
            let may_retry = self.options.retry && error.kind() == Kind::UnknownHost;
            if !may_retry || Instant::now() + wait >= end {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_version(
        self: &Arc<Self>,
        mut connection: HttpConnection,
    ) -> Result<ServerInfo, Error> {
        let request = Request::get(PATH);
        let built = self.build(&request, RequestBody::Empty)?;
        let sent = connection.sender.send_request(built).await;
        let response = sent.map_err(|e| match connection.lost(self, &e) {
            _ if is_no_http(&e) => self.unusable("does not speak HTTP: it is not a Styx server"),
            lost if lost.kind() == Kind::ConnectionFailed => {
                let text = format!("{lost}, during GET {PATH}: it may not be a Styx server");
                Error::new(Kind::ConnectionFailed, text)
            }
            lost => lost,
        })?;
        match self.response(&request, response, connection).await {
            Ok(response) => self.read_version(response).await,
            Err(error) if error.is(Code::NotFound) => Err(self.unusable(
                "is a Styx server of version 0.x, which is too old: use version 1.0 or later",
            )),
            Err(error) if error.kind() == Kind::BadAnswer => {
                Err(self.unusable(&format!("is not a Styx server: {error}")))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_version(&self, mut response: StreamingResponse) -> Result<ServerInfo, Error> {
        let body = response.bytes(ANSWER_BYTES_MAX).await?;
        ServerInfo::read(&body).map_err(|why| self.unusable(&why))
    }

    fn unusable(&self, why: &str) -> Error {
        Error::bad_answer(format!(
            "{} {why} (if a proxy hides {PATH}, create the client without this check: `build`)",
            self.address
        ))
    }
}

/// Whether the peer sent something that is not HTTP.
fn is_no_http(error: &hyper::Error) -> bool {
    // Bytes before the request, such as the greeting of a mail server. hyper reports them by
    // this text only.
    let unexpected =
        |cause: &dyn std::error::Error| cause.to_string().contains("unexpected message");
    error.is_parse() || std::error::Error::source(error).is_some_and(unexpected)
}
