//! Opens a [`Socket`] to the server's address, within the connect timeout.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::BufReader;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::quiet::Quiet;
use super::socket::Stream;
use super::{Socket, Transport, tls};
use crate::error::{Error, Kind};

/// Silence after which the kernel checks whether the peer is alive (TCP keep-alive).
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Ciphertext that is read at once.
const CIPHERTEXT_BYTES: usize = 64 << 10;

impl Transport {
    /// Opens a connection. Tries every IP address of the host name in turn.
    ///
    /// # Errors
    /// [`Kind::ConnectionFailed`], [`Kind::UnknownHost`], [`Kind::UntrustedServer`] or
    /// [`Kind::TimedOut`], with the address; [`Kind::InvalidArgument`] for a name that no
    /// certificate can have.
    pub(crate) async fn connect(&self) -> Result<Socket, Error> {
        let timeout = self.options.connect_timeout;
        let connecting = tokio::time::timeout(timeout, self.connect_without_limit()).await;
        match connecting.unwrap_or_else(|_| Err(self.no_response())) {
            Ok(stream) => Ok(Socket::new(stream, self.counts.connected())),
            Err(error) => {
                self.counts.failed_to_connect();
                Err(error)
            }
        }
    }

    /// The error for a connection that was not open within the connect timeout.
    pub(super) fn no_response(&self) -> Error {
        let timeout = self.options.connect_timeout;
        let text = format!("cannot connect to {}: no response within {timeout:?}", self.address);
        Error::timed_out(text)
    }

    async fn connect_without_limit(&self) -> Result<Stream, Error> {
        if let Some(path) = self.address.unix_path() {
            let stream = UnixStream::connect(path).await.map_err(|e| self.failed(&e))?;
            return Ok(Stream::Unix(Quiet(stream)));
        }
        let stream = self.connect_tcp().await?;
        set_options(&stream).map_err(|e| self.failed(&e))?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(Quiet(stream))) };
        let name = self.options.server_name.as_deref().unwrap_or(self.address.host());
        let name = tls::server_name(name)?;
        let connector = TlsConnector::from(config.clone());
        let stream = BufReader::with_capacity(CIPHERTEXT_BYTES, Quiet(stream));
        let stream = connector.connect(name, stream).await.map_err(|e| self.tls_failed(&e))?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    async fn connect_tcp(&self) -> Result<TcpStream, Error> {
        let (host, port) = (self.address.host(), self.address.port());
        let found = self.options.resolver.resolve(host, port).await.map_err(|e| {
            let text = format!("cannot connect to {}: unknown host {host}: {e}", self.address);
            Error::new(Kind::UnknownHost, text)
        })?;
        // Tries the addresses one after the other.
        TcpStream::connect(found.as_slice()).await.map_err(|e| self.failed(&e))
    }

    fn tls_failed(&self, error: &io::Error) -> Error {
        if tls::is_no_tls(error) {
            let text = format!(
                "cannot connect to {}: the server does not speak TLS at this port; use styx:// or \
                 http:// in the address",
                self.address
            );
            return Error::new(Kind::ConnectionFailed, text);
        }
        let Some(advice) = tls::why_untrusted(error) else { return self.failed(error) };
        let text = format!("cannot connect to {}: {error}: {advice}", self.address);
        Error::new(Kind::UntrustedServer, text)
    }

    fn failed(&self, error: &io::Error) -> Error {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "no server is listening there".to_owned(),
            io::ErrorKind::NotFound if self.address.unix_path().is_some() => {
                "there is no such socket".to_owned()
            }
            io::ErrorKind::PermissionDenied if self.address.unix_path().is_some() => {
                "permission denied (unix_socket_mode and unix_socket_owner of the server decide \
                 which users may connect)"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Error::new(Kind::ConnectionFailed, format!("cannot connect to {}: {why}", self.address))
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 3)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::super::Resolver;
    use super::super::resolve::SimulatedNames;
    use super::*;
    use crate::client::{Builder, Client};
    use crate::events::EventKind;
    use crate::options::UNKNOWN_HOST_TIMEOUT;
    use crate::wait::block_on;

    const NEVER: Range<u64> = 0..u64::MAX;

    /// A client of the host `db`, which the lookups of these numbers do not find.
    fn client_of_db(unknown: Range<u64>, address: SocketAddr) -> (Builder, Arc<SimulatedNames>) {
        let names = Arc::new(SimulatedNames { lookups: AtomicU64::new(0), unknown, address });
        let builder = Client::builder("db").resolver(Resolver::Simulated(Arc::clone(&names)));
        (builder, names)
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    /// Accepts a connection, reads its request and sends this response.
    fn answer(listener: &TcpListener, response: &str) -> TcpStream {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        stream.write_all(response.as_bytes()).expect("the client reads");
        stream
    }

    /// Containers that start together: the server's name becomes known a moment later.
    #[test]
    fn unknown_host_is_tried_again_until_it_is_known() {
        let (listener, address) = listen();
        let (builder, names) = client_of_db(0..3, address);
        let client = builder.build().expect("good options");
        let asking = thread::spawn(move || block_on(client.list_logs()));
        let _stream = answer(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
        let logs = asking.join().expect("no panic").expect("an answer");
        assert!(logs.is_empty());
        assert_eq!(names.lookups.load(Ordering::SeqCst), 4);

        let (builder, names) = client_of_db(0..3, address);
        let connecting = thread::spawn(move || block_on(builder.connect()).map(drop));
        let body = r#"{"version": "1.0.0", "features": ["styx/1"]}"#;
        let length = body.len();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        let _stream = answer(&listener, &response);
        connecting.join().expect("no panic").expect("a server");
        assert_eq!(names.lookups.load(Ordering::SeqCst), 4);
    }

    /// Every call ends after 5 s, not after its timeout of 30 s. The calls wait at the same
    /// time.
    #[test]
    fn unknown_host_is_an_error_after_5_seconds() {
        let started = Instant::now();
        let (builder, names) = client_of_db(NEVER, listen().1);
        let client = builder.clone().build().expect("good options");
        let (listing, producing, consuming) = (client.clone(), client.clone(), client);
        let calls = [
            thread::spawn(move || block_on(builder.connect()).map(drop)),
            thread::spawn(move || block_on(listing.list_logs()).map(drop)),
            thread::spawn(move || block_on(producing.producer("a").open()).map(drop)),
            thread::spawn(move || block_on(consuming.consumer("a").follow(true).open()).map(drop)),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            let error = call.join().expect("no panic").expect_err("the host is unknown");
            assert_eq!((error.code(), error.is_retriable()), ("unknown_host", true), "{number}");
            assert!(error.message().contains("unknown host db"), "{number}: {error}");
        }
        let elapsed = started.elapsed();
        assert!(elapsed < 3 * UNKNOWN_HOST_TIMEOUT, "{elapsed:?}");
        assert!(names.lookups.load(Ordering::SeqCst) > 4 * 4, "each call tries several times");
    }

    #[test]
    fn client_without_retries_reports_an_unknown_host_at_once() {
        let (builder, names) = client_of_db(NEVER, listen().1);
        let error = block_on(builder.retry(false).connect()).expect_err("the host is unknown");
        assert_eq!(error.kind(), Kind::UnknownHost);
        assert_eq!(names.lookups.load(Ordering::SeqCst), 1);
    }

    /// The name is unknown for longer than an open would wait.
    #[test]
    fn follower_waits_for_a_host_that_is_unknown_for_a_while() {
        let (listener, address) = listen();
        let (builder, names) = client_of_db(1..13, address);
        let client = builder.build().expect("good options");
        let consuming = client.clone();
        let opening = thread::spawn(move || block_on(consuming.consumer("a").follow(true).open()));
        let welcome = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                       Upgrade: styx/1\r\nX-Styx-Log-Id: 000102030405060708090a0b0c0d0e0f\r\n\
                       X-Styx-Timeout: 30\r\nX-Styx-Start-Position: 0\r\n\
                       X-Styx-End-Position: 0\r\nX-Styx-Position: 0\r\n\r\n";
        let stream = answer(&listener, welcome);
        let mut consumer = opening.join().expect("no panic").expect("accepted");
        let lost = Instant::now();
        drop(stream);
        let _stream = answer(&listener, welcome);
        assert!(lost.elapsed() > UNKNOWN_HOST_TIMEOUT, "{:?}", lost.elapsed());
        assert_eq!(names.lookups.load(Ordering::SeqCst), 14);
        let polled = consumer.try_next_batch().expect("no error");
        assert!(matches!(polled, crate::consumer::Polled::Nothing), "{polled:?}");
        let mut events = Vec::new();
        assert_eq!(client.take_events(&mut events), 0);
        let mut kinds = events.iter().map(|event| &event.kind);
        let unknown = |kind: &EventKind| matches!(kind, EventKind::Lost(error) if error.kind() == Kind::UnknownHost);
        let mut attempts = 0;
        while let Some(kind) = kinds.next() {
            if unknown(kind) {
                let next = kinds.next();
                assert!(matches!(next, Some(EventKind::Again { .. })), "{next:?}");
                attempts += 1;
            }
        }
        assert_eq!(attempts, 12, "each attempt is told: {events:?}");
    }
}
