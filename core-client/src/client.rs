//! [`Client`]: the connection to one server.

mod stats;

pub use stats::ClientStats;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::error::Error;
use crate::options::{
    Given, OptionOf, Options, Roots, SILENCE_TIMEOUT_MIN, THREADS_MAX, TIMEOUT_MAX, TIMEOUT_MIN,
    Token,
};
use crate::runtime::Runtime;
use crate::server_info::ServerInfo;
use crate::transport::{Request, Transport};

/// The address of [`Client::builder_from_env`] if `STYX_HOST` is not set.
pub const DEFAULT_ADDRESS: &str = "styx://localhost:7123";

/// A client of one server: manages its logs, and opens producers and consumers.
///
/// It is cheap to clone. Clones, producers and consumers share the client's threads,
/// which end when the last of them is dropped. All methods may be called from any
/// thread and any executor.
///
/// After a fork, the child must connect again. Calls of a client from before the fork
/// fail in the child with [`Kind::Forked`](crate::Kind::Forked).
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    transport: Arc<Transport>,
}

impl Client {
    /// Connects to the server at `address` with default options, and checks that it is a
    /// server which this client can use. The address is `localhost:7123` or
    /// `styx://localhost:7123`, for example; see [`Address`].
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(address: &str) -> Result<Client, Error> {
        Client::builder(address).connect().await
    }

    /// A builder for a client with other options: set them, then call
    /// [`Builder::connect`].
    pub fn builder(address: &str) -> Builder {
        Builder { address: address.to_owned(), options: Options::default() }
    }

    /// A builder with the settings of the environment, as on the command line. Later calls of
    /// the builder win. A variable that is empty counts as one that is not set.
    ///
    /// | variable | option | default |
    /// |---|---|---|
    /// | `STYX_HOST` | [`address`](Builder::address) | [`DEFAULT_ADDRESS`] |
    /// | `STYX_TOKEN` | [`token`](Builder::token) | none |
    /// | `STYX_CA_FILE` | [`ca_file`](Builder::ca_file) | the authorities that the machine trusts |
    ///
    /// [`builder`](Self::builder) and [`connect`](Self::connect) ignore the environment.
    pub fn builder_from_env() -> Builder {
        Builder::from_variables(|name| std::env::var_os(name))
    }

    /// Asks the server for its version, its features and its limits, within the
    /// [connect timeout](Builder::connect_timeout).
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn check(&self) -> Result<ServerInfo, Error> {
        let transport = Arc::clone(&self.transport);
        self.runtime.run(async move { transport.check().await }).await
    }

    /// The body of the response to a `GET` of this path, for the command line.
    ///
    /// # Errors
    /// No response in time, or one that is not 2xx.
    #[doc(hidden)]
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        let transport = Arc::clone(&self.transport);
        let request = Request::get(path);
        let fetch = async move { transport.fetch(&request, Bytes::new()).await };
        Ok(self.runtime.run(fetch).await?.text())
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.transport.address()
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    pub(crate) fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", self.address()).finish_non_exhaustive()
    }
}

/// Options of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    address: String,
    options: Options,
}

impl Builder {
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Builder {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        // Text that is not Unicode is not valid in an address or a token either.
        let text = |name| given(name).map(|value| value.to_string_lossy().into_owned());
        let mut builder = Client::builder(text("STYX_HOST").as_deref().unwrap_or(DEFAULT_ADDRESS));
        if let Some(token) = text("STYX_TOKEN") {
            builder = builder.token(token);
        }
        if let Some(path) = given("STYX_CA_FILE") {
            builder = builder.ca_file(path);
        }
        builder
    }

    /// The server's address, in place of the one that the builder was made with.
    pub fn address(mut self, address: impl Into<String>) -> Builder {
        self.address = address.into();
        self
    }

    /// Sets an option by its name, for language bindings and configuration files.
    /// [`OPTIONS`](crate::options::OPTIONS) lists the names and how values are written.
    ///
    /// # Errors
    /// `invalid_argument`: there is no such option, and the error names the nearest one; or
    /// the value is not allowed, and the error says which are.
    pub fn set(self, key: &str, value: &str) -> Result<Builder, Error> {
        let given = Given::new(key, value);
        Ok(match key {
            "token" => self.token(value),
            "ca_file" => self.ca_file(value),
            "ca_pem" => self.ca_pem(value),
            "server_name" => self.server_name(value),
            "connect_timeout" => self.connect_timeout(given.duration(TIMEOUT_MIN..=TIMEOUT_MAX)?),
            "timeout" => self.timeout(given.duration(TIMEOUT_MIN..=TIMEOUT_MAX)?),
            "silence_timeout" => {
                self.silence_timeout(given.duration(SILENCE_TIMEOUT_MIN..=TIMEOUT_MAX)?)
            }
            "retry" => self.retry(given.flag()?),
            "threads" => {
                let threads = given.number(1..=THREADS_MAX as u64)?;
                self.threads(usize::try_from(threads).unwrap_or(THREADS_MAX))
            }
            "user_agent" => self.user_agent(value),
            "traceparent" => self.traceparent(value),
            _ => return Err(given.unknown(OptionOf::Client)),
        })
    }

    /// A bearer token to send with every request. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Builder {
        self.options.token = Some(Token::new(token.into()));
        self
    }

    /// A PEM file with the certificate authorities to trust. Only these are trusted.
    /// Default: the authorities that the machine trusts.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.options.roots = Roots::File(path.into());
        self
    }

    /// Trusts only a server that presents the first certificate in this PEM file, whatever names
    /// it contains, for `styx health`.
    #[doc(hidden)]
    pub fn exact_certificate(mut self, path: impl Into<PathBuf>) -> Builder {
        self.options.roots = Roots::Exactly(path.into());
        self
    }

    /// As [`ca_file`](Self::ca_file), with the contents of the file.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.options.roots = Roots::Pem(pem.into());
        self
    }

    /// The name that the server's certificate must contain. Default: the host of the
    /// address.
    pub fn server_name(mut self, name: impl Into<String>) -> Builder {
        self.options.server_name = Some(name.into());
        self
    }

    /// How long opening a connection may take, including TLS. For
    /// [`connect`](Self::connect), this includes the check of the server. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a call may take, including retries. For a backup or restore, how long
    /// each step may take. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.options.call_timeout = timeout;
        self
    }

    /// If a producer or consumer receives nothing for this time, it considers its
    /// connection dead and reconnects. At least 2 s. Default: 30 s.
    pub fn silence_timeout(mut self, timeout: Duration) -> Builder {
        self.options.silence_timeout = timeout;
        self
    }

    /// The value of the `User-Agent` header. Default: `styx-client/VERSION`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Builder {
        self.options.user_agent = user_agent.into();
        self
    }

    /// The trace that the client's requests belong to: the value of the header `traceparent` of
    /// W3C Trace Context, in every request and handshake. The server writes its ids to the log with
    /// each line about such a request. Default: none. A client has one value; connect another
    /// client for another trace.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Builder {
        self.options.traceparent = Some(traceparent.into());
        self
    }

    /// Whether calls that change nothing are retried, until their timeout, if the
    /// connection fails or the error is temporary. Default: yes. Producers and consumers
    /// always reconnect.
    pub fn retry(mut self, retry: bool) -> Builder {
        self.options.retry = retry;
        self
    }

    /// The number of threads for sockets and compression, 1 to 64. Default: 1, which is
    /// enough for millions of records per second.
    pub fn threads(mut self, threads: usize) -> Builder {
        self.options.threads = threads;
        self
    }

    /// [Builds](Self::build) a client, and [checks](Client::check) that the peer is a server
    /// which this client can use. It keeps the connection for the first call. It tries once;
    /// only a host name that cannot be resolved is tried again, for 5 s.
    ///
    /// # Errors
    /// - An option is invalid.
    /// - `connection_failed`, `unknown_host`, `untrusted_server`: no connection can be
    ///   opened.
    /// - `timed_out`: there is no connection, or no answer, within the
    ///   [connect timeout](Self::connect_timeout).
    /// - `bad_answer`: the peer is not a Styx server, or one that is too old. Behind a proxy
    ///   that does not pass on `GET /version`, use [`build`](Self::build).
    /// - `unauthorized`, `forbidden`: the server needs another token.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.build()?;
        client.check().await?;
        Ok(client)
    }

    /// A client that connects at its first call, and does not check its peer. Use it if the
    /// program may start before its server, or behind a proxy that hides `GET /version`.
    ///
    /// # Errors
    /// An option is invalid.
    pub fn build(self) -> Result<Client, Error> {
        let transport = Transport::new(self.address.parse::<Address>()?, self.options)?;
        let runtime = Runtime::start(transport.options().threads)?;
        Ok(Client { runtime: Arc::new(runtime), transport: Arc::new(transport) })
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Builder {
    /// What `build` checks, without the threads of a client.
    pub(crate) fn check(self) -> Result<Address, Error> {
        let address = self.address.parse::<Address>()?;
        Transport::new(address.clone(), self.options)?;
        Ok(address)
    }
}

#[cfg(test)]
impl Builder {
    /// Looks up host names with `resolver`.
    pub(crate) fn resolver(mut self, resolver: crate::transport::Resolver) -> Builder {
        self.options.resolver = resolver;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Builder {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Builder::from_variables(|name| find(name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn environment_provides_address_token_and_authorities() {
        let builder = from(&[
            ("STYX_HOST", "styxs://db:9"),
            ("STYX_TOKEN", "s3cret"),
            ("STYX_CA_FILE", "/etc/ca.pem"),
        ]);
        assert_eq!(builder.address, "styxs://db:9");
        assert!(builder.options.check().is_ok_and(|headers| {
            headers.authorization.is_some_and(|value| value == "Bearer s3cret")
        }));
        assert_eq!(builder.options.roots, Roots::File("/etc/ca.pem".into()));
        let other = builder.address("other").ca_pem("PEM");
        assert_eq!(
            (other.address.as_str(), other.options.roots),
            ("other", Roots::Pem("PEM".into()))
        );
    }

    #[test]
    fn empty_variables_count_as_unset() {
        for variables in [&[][..], &[("STYX_HOST", ""), ("STYX_TOKEN", ""), ("STYX_CA_FILE", "")]] {
            let builder = from(variables);
            assert_eq!(builder.address, DEFAULT_ADDRESS);
            assert!(builder.options.token.is_none());
            assert_eq!(builder.options.roots, Roots::System);
        }
    }
}
