//! [`Client`]: one server, as a program sees it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::error::Error;
use crate::options::{Options, Roots, Token};
use crate::runtime::Runtime;
use crate::transport::Transport;

/// A server to talk to: manages its logs, and makes producers and consumers.
///
/// Cheap to clone; clones, producers and consumers share the client's threads,
/// which end when the last of them is dropped. All methods may be called from
/// any thread and any executor.
///
/// After a fork the child must connect anew: every call of a client that was
/// made before fails there with [`Kind::Forked`](crate::Kind::Forked).
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    transport: Arc<Transport>,
}

impl Client {
    /// Connects to the server at `address`, such as `styx://localhost:7123`,
    /// with nothing but defaults.
    ///
    /// # Errors
    /// The address or a certificate cannot be used, or no connection comes
    /// about within [`CONNECT_TIMEOUT`](crate::options::CONNECT_TIMEOUT). This
    /// is tried once.
    pub async fn connect(address: &str) -> Result<Client, Error> {
        Client::builder(address).connect().await
    }

    /// Options first, then [`Builder::connect`].
    pub fn builder(address: &str) -> Builder {
        Builder { address: address.to_owned(), options: Options::default() }
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
    /// A bearer token that every request shows. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Builder {
        self.options.token = Some(Token::new(token.into()));
        self
    }

    /// A PEM file with the only certificate authorities to trust. Default:
    /// those that the machine trusts.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.options.roots = Roots::File(path.into());
        self
    }

    /// As [`ca_file`](Self::ca_file), with the text itself.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.options.roots = Roots::Pem(pem.into());
        self
    }

    /// The name that the server's certificate must have. Default: the
    /// address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Builder {
        self.options.server_name = Some(name.into());
        self
    }

    /// How long a connection may take to come about, TLS included. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a call may take, repetitions included; of a backup or restore,
    /// how long each step of it may. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.options.call_timeout = timeout;
        self
    }

    /// After how much silence the connection of a producer or consumer is taken
    /// for dead and replaced, at least 2 s. Default: 30 s.
    pub fn silence_timeout(mut self, timeout: Duration) -> Builder {
        self.options.silence_timeout = timeout;
        self
    }

    /// What the client calls itself. Default: `styx-client/VERSION`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Builder {
        self.options.user_agent = user_agent.into();
        self
    }

    /// Whether calls that change nothing are repeated, until their time-out,
    /// when the connection fails or the server asks for it. Default: yes.
    /// Producers and consumers always reconnect.
    pub fn retry(mut self, retry: bool) -> Builder {
        self.options.retry = retry;
        self
    }

    /// How many threads own the client's sockets. Default: 1, which carries
    /// millions of records a second; compression is done there too.
    pub fn threads(mut self, threads: usize) -> Builder {
        self.options.threads = threads;
        self
    }

    /// Connects: the way to the server is tried once, and kept.
    ///
    /// # Errors
    /// An option cannot be used, or no connection comes about.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.build()?;
        let transport = Arc::clone(&client.transport);
        client.runtime.run(async move { transport.probe().await }).await?;
        Ok(client)
    }

    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn build(self) -> Result<Client, Error> {
        let transport = Transport::new(self.address.parse::<Address>()?, self.options)?;
        let runtime = Runtime::start(transport.options().threads)?;
        Ok(Client { runtime: Arc::new(runtime), transport: Arc::new(transport) })
    }
}
