//! The command line's HTTP: blocking requests with bodies streamed both ways.
//!
//! One connection is kept and used again. An answer of 4xx or 5xx becomes an
//! [`Error`] that shows the server's own message.

mod error;
mod transport;

use std::io::Read;
use std::time::Duration;

use ureq::http::header::{HeaderName, HeaderValue};
use ureq::http::{Method, Request, Uri};

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

pub(crate) use error::Error;
use transport::Deaf;

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A server to talk to.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    deaf: Deaf,
    /// Scheme and authority, without a slash at the end.
    base: String,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    answered_within: Option<Duration>,
}

/// What is sent along.
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// Sent as it is read, of unknown length.
    Stream(&'a mut dyn Read),
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer(ureq::http::Response<ureq::Body>);

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path.into())
    }

    pub(crate) fn post(path: impl Into<String>) -> Call {
        Call::new(Method::POST, path.into())
    }

    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call::new(Method::DELETE, path.into())
    }

    fn new(method: Method, path: String) -> Call {
        Call { method, path, query: Vec::new(), headers: Vec::new(), answered_within: None }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl ToString) -> Call {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Call {
        self.headers.push((name, value.to_string()));
        self
    }

    /// A server that has not begun to answer by then is taken for dead.
    pub(crate) fn answered_within(mut self, limit: Duration) -> Call {
        self.answered_within = Some(limit);
        self
    }

    /// Path and query.
    fn target(&self) -> String {
        let query = form(self.query.iter().map(|(name, value)| (*name, value.as_str())));
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{query}", self.path)
    }
}

impl Client {
    /// A client of the server at `host`: a URL, whose `http://` may be left out.
    ///
    /// # Errors
    /// The text is no such URL.
    pub(crate) fn new(host: &str) -> Result<Client, Error> {
        let base = host.trim().trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let unusable = |why: &str| Error::Host { host: host.to_owned(), why: why.to_owned() };
        let uri: Uri = base.parse().map_err(|_| unusable("it is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(unusable("this version of Styx speaks no TLS, only http"));
            }
            _ => return Err(unusable("it does not begin with http://")),
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_WITHIN))
            .user_agent(concat!("styx/", env!("CARGO_PKG_VERSION")));
        if uri.host().is_some_and(is_this_machine) {
            config = config.proxy(None);
        }
        let deaf = Deaf::default();
        let connector = DefaultConnector::default().chain(deaf.clone());
        let agent = ureq::Agent::with_parts(config.build(), connector, DefaultResolver::default());
        Ok(Client { agent, deaf, base })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// No connection, or an answer that is not 2xx.
    pub(crate) fn send(&self, call: &Call, body: Body<'_>) -> Result<Answer, Error> {
        let uri: Uri = format!("{}{}", self.base, call.target())
            .parse()
            .map_err(|_| Error::Host { host: self.base.clone(), why: "not a URL".to_owned() })?;
        let mut request = Request::builder().method(call.method.clone()).uri(uri);
        for (name, value) in &call.headers {
            let value = HeaderValue::from_str(value).map_err(|_| Error::Host {
                host: self.base.clone(),
                why: format!("the header {name} cannot hold {value:?}"),
            })?;
            request = request.header(HeaderName::from_static(name), value);
        }
        let sent = match body {
            Body::None => request.body(()).map(|request| self.run(call, request)),
            Body::Bytes(bytes) => request.body(bytes).map(|request| self.run(call, request)),
            Body::Stream(reader) => {
                let mut reader = self.deaf.until(reader);
                request
                    .body(ureq::SendBody::from_reader(&mut reader))
                    .map(|request| self.run(call, request))
            }
        };
        let answer = sent
            .map_err(ureq::Error::from)
            .and_then(|result| result)
            .map_err(|error| Error::transport(&self.base, error))?;
        if answer.status().is_success() { Ok(Answer(answer)) } else { Err(Error::refused(answer)) }
    }

    fn run(
        &self,
        call: &Call,
        request: Request<impl ureq::AsSendBody>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let config = self.agent.configure_request(request);
        self.agent.run(config.timeout_recv_response(call.answered_within).build())
    }
}

impl Answer {
    /// A header's value, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// The body, to be read as it comes.
    pub(crate) fn reader(self) -> impl Read {
        self.0.into_body().into_reader()
    }

    /// The whole body of an answer that is known to be small.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes).map_err(Error::lost)?;
        Ok(bytes)
    }
}

/// Pairs as a query or a form has them.
pub(crate) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// Nobody means a proxy by `localhost`, whatever the environment says.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_taken_as_people_write_it() {
        for (text, base) in [
            ("http://localhost:7123", "http://localhost:7123"),
            ("http://host:7123/", "http://host:7123"),
            ("host:7123", "http://host:7123"),
            ("127.0.0.1:7123//", "http://127.0.0.1:7123"),
            ("http://[::1]:7123", "http://[::1]:7123"),
        ] {
            assert_eq!(Client::new(text).map(|client| client.base).ok(), Some(base.to_owned()));
        }
        for text in ["", "https://host", "ftp://host", "http://a b"] {
            assert!(Client::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        let call = Call::get("/logs/x").query("position", "2026-01-01T00:00:00+02:00");
        assert_eq!(call.target(), "/logs/x?position=2026-01-01T00%3A00%3A00%2B02%3A00");
        assert_eq!(Call::get("/logs").target(), "/logs");
    }
}
