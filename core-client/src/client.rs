//! [`Client`]: the connection to one server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::error::Error;
use crate::options::{Options, Roots, Token};
use crate::runtime::Runtime;
use crate::server_info::ServerInfo;
use crate::transport::Transport;

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

    /// Asks the server for its version, its features and its limits, within the
    /// [connect timeout](Builder::connect_timeout).
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn check(&self) -> Result<ServerInfo, Error> {
        let transport = Arc::clone(&self.transport);
        self.runtime.run(async move { transport.check().await }).await
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

#[cfg(test)]
impl Builder {
    /// Looks up host names with `resolver`.
    pub(crate) fn resolver(mut self, resolver: crate::transport::Resolver) -> Builder {
        self.options.resolver = resolver;
        self
    }
}
