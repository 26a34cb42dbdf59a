//! Connections to the server, requests and upgrades.
//!
//! ```text
//! connect ─▶ Socket (TCP, TLS or Unix) ─┬─▶ http: one request, one response; the connection is kept
//!                                       │     (fetch: a small response, read completely; retried if safe)
//!                                       │     (check: is the peer a server that this client can use?)
//!                                       └─▶ upgrade: the socket and the bytes received with the 101
//! ```
//! Everything here runs on the client's own threads. In `server_error`, an error response
//! becomes an [`Error`] with the server's message.

mod check;
mod connect;
mod counts;
mod fetch;
mod http;
mod quiet;
mod read_after_write_error;
mod resolve;
mod server_error;
mod socket;
mod tls;
mod upgrade;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{AUTHORIZATION, HOST, USER_AGENT};
use ::http::{HeaderName, HeaderValue, Method};
use styx_protocol::header::TRACEPARENT;
use tokio_rustls::rustls::ClientConfig;

pub(crate) use self::http::{BodyPart, RequestBody, StreamingResponse};
pub(crate) use counts::Counts;
pub(crate) use fetch::BufferedResponse;
pub(crate) use resolve::Resolver;
pub(crate) use server_error::error_from_frame;
pub(crate) use socket::Socket;
pub(crate) use upgrade::Upgraded;

use self::http::HttpConnection;
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::events::Events;
use crate::options::{Headers, Options};
use crate::process::{ForgetInChild, Process};

/// The most idle connections that are kept for later requests.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// Everything that is needed to connect to one server.
pub(crate) struct Transport {
    address: Address,
    options: Options,
    headers: Headers,
    authority: HeaderValue,
    /// `None` if the address is not encrypted.
    tls: Option<Arc<ClientConfig>>,
    /// Dropping a connection wakes the task that drives it.
    idle: ForgetInChild<Mutex<Vec<HttpConnection>>>,
    events: Events,
    counts: Arc<Counts>,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    /// Path and query.
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Transport {
    /// Checks the options and reads the certificates. Does not connect.
    ///
    /// # Errors
    /// An option is invalid.
    pub(crate) fn new(address: Address, options: Options) -> Result<Transport, Error> {
        let headers = options.check()?;
        let authority = HeaderValue::from_str(&address.authority()).map_err(|_| {
            Error::invalid_argument(format!(
                "the address {address} cannot be used in a Host header"
            ))
        })?;
        let tls = match address.is_encrypted() {
            true => Some(tls::config(&options.roots)?),
            false => None,
        };
        let idle = ForgetInChild::new(Process::current(), Mutex::default());
        let events = Events::default();
        let counts = Arc::new(Counts::new());
        Ok(Transport { address, options, headers, authority, tls, idle, events, counts })
    }

    /// The server's address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The client's options.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The events of the client's producers and consumers.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// The numbers of the client's connections.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The error for a stream whose connection broke.
    pub(crate) fn broken(&self, error: &std::io::Error) -> Error {
        Error::new(
            Kind::ConnectionFailed,
            format!("the connection to {} broke: {error}", self.address),
        )
    }

    /// The error for a stream that the server closed without an error frame.
    pub(crate) fn closed_by_peer(&self) -> Error {
        Error::new(Kind::ConnectionFailed, format!("{} closed the connection", self.address))
    }

    /// The error for a stream on which nothing was received for the silence timeout.
    pub(crate) fn silent(&self) -> Error {
        let text = format!("{} sent nothing for {:?}", self.address, self.options.silence_timeout);
        Error::new(Kind::TimedOut, text)
    }

    /// The error for a stream that violates the protocol.
    pub(crate) fn protocol_error(&self, error: &styx_protocol::frame::Error) -> Error {
        Error::bad_answer(format!("{} violates the styx/1 protocol: {error}", self.address))
    }

    fn put_idle(&self, connection: HttpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        if idle.len() < IDLE_CONNECTIONS_MAX && !connection.is_closed() {
            idle.push(connection);
        }
    }

    fn take_idle(&self) -> Option<HttpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.is_closed())
    }

    /// The request as hyper expects it.
    fn build<B>(&self, request: &Request, body: B) -> Result<::http::Request<B>, Error> {
        let mut built = ::http::Request::builder()
            .method(request.method.clone())
            .uri(request.target.as_str())
            .header(HOST, &self.authority)
            .header(USER_AGENT, &self.headers.user_agent);
        if let Some(authorization) = &self.headers.authorization {
            built = built.header(AUTHORIZATION, authorization);
        }
        if let Some(traceparent) = &self.headers.traceparent {
            built = built.header(TRACEPARENT, traceparent);
        }
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        self.counts.requested();
        built.body(body).map_err(|e| Error::invalid_argument(format!("{}: {e}", request.target)))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request for this path, which must not need escaping.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Request {
        Request { method, target: path.into(), headers: Vec::new() }
    }

    /// A `GET`.
    pub(crate) fn get(path: impl Into<String>) -> Request {
        Request::new(Method::GET, path)
    }

    /// A `POST`.
    pub(crate) fn post(path: impl Into<String>) -> Request {
        Request::new(Method::POST, path)
    }

    /// Adds a query parameter.
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> Request {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        escape(&value.to_string(), &mut self.target);
        self
    }

    /// Adds a header. A value that is not valid in a header is left out; numbers, ids and
    /// names are always valid.
    pub(crate) fn header(mut self, name: &'static str, value: impl fmt::Display) -> Request {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Whether sending it twice has no effect.
    pub(crate) fn is_safe(&self) -> bool {
        self.method.is_safe()
    }
}

/// Percent-encodes what has a meaning in a query.
fn escape(text: &str, out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_escaped() {
        let request = Request::get("/logs/x").query("position", -3).query("a", "1 +%ü");
        assert_eq!(request.target, "/logs/x?position=-3&a=1%20%2B%25%C3%BC");
    }
}
