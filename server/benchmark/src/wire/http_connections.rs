//! [`HttpConnections`]: many HTTP connections on one thread, with one request in flight on
//! each and no pipelining. This is the load of many clients, for the CPU time of one.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::connection::Endpoint;
use super::encryption::Stream;
use super::io_error;
use super::response::{self, HeadHint, Response};
use crate::Error;

/// How long to wait while no connection gets a response.
const TIMEOUT: Duration = Duration::from_secs(60);
const EVENTS: usize = 1024;
/// The longest response.
const RESPONSE_BYTES_MAX: usize = 16 << 10;

/// Open connections.
pub(crate) struct HttpConnections {
    poll: Poll,
    connections: Vec<HttpConnection>,
}

struct HttpConnection {
    stream: Stream,
    bytes: Vec<u8>,
    filled: usize,
    hint: HeadHint,
}

/// Makes the requests of all connections, and checks the responses. Connections are
/// numbered from 0.
pub(crate) trait RequestScript {
    /// The next request of a connection. `None` if it has no more.
    fn request(&mut self, number: usize) -> Option<&[u8]>;

    /// Receives the response to the last request of a connection.
    ///
    /// # Errors
    /// The response is wrong.
    fn response(&mut self, number: usize, response: Response<'_>) -> Result<(), Error>;
}

impl HttpConnections {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// A connection cannot be opened.
    pub(crate) fn connect(endpoint: &Endpoint, count: usize) -> Result<HttpConnections, Error> {
        let failed = |error| io_error("opening HTTP connections", &error);
        let poll = Poll::new().map_err(failed)?;
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let stream = endpoint.connect()?;
            let mut stream = match &endpoint.encryption {
                Some(encryption) => encryption.begin(stream).map_err(failed)?,
                None => {
                    stream.set_nonblocking(true).map_err(failed)?;
                    Stream::Plain(mio::net::TcpStream::from_std(stream))
                }
            };
            poll.registry()
                .register(stream.socket(), Token(number), Interest::READABLE)
                .map_err(failed)?;
            let bytes = vec![0; RESPONSE_BYTES_MAX];
            connections.push(HttpConnection {
                stream,
                bytes,
                filled: 0,
                hint: HeadHint::default(),
            });
        }
        Ok(HttpConnections { poll, connections })
    }

    /// Sends requests on all connections until the script has no more, and waits for the
    /// last responses.
    ///
    /// # Errors
    /// A connection failed, or a response is wrong.
    pub(crate) fn run(&mut self, script: &mut impl RequestScript) -> Result<(), Error> {
        let failed = |error| io_error("sending HTTP requests", &error);
        let mut waiting = 0_usize;
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if let Some(request) = script.request(number) {
                connection.stream.write_all(request).map_err(failed)?;
                waiting += 1;
            }
        }
        let mut events = Events::with_capacity(EVENTS);
        while waiting > 0 {
            match self.poll.poll(&mut events, Some(TIMEOUT)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(failed)?,
            }
            if events.is_empty() {
                let text = format!("the server sent no response for {TIMEOUT:?}");
                return Err(Error::Failed(text));
            }
            for event in &events {
                let Token(number) = event.token();
                let Some(connection) = self.connections.get_mut(number) else { continue };
                if !connection.read(number, script)? {
                    continue;
                }
                match script.request(number) {
                    // Never blocks: it is small, and the server has read all before it.
                    Some(request) => connection.stream.write_all(request).map_err(failed)?,
                    None => waiting -= 1,
                }
            }
        }
        Ok(())
    }
}

impl HttpConnection {
    /// Reads received bytes. Returns whether the response is complete.
    fn read(&mut self, number: usize, script: &mut impl RequestScript) -> Result<bool, Error> {
        loop {
            let free = self.bytes.get_mut(self.filled..).unwrap_or_default();
            let free_bytes = free.len();
            match self.stream.read(free) {
                Ok(0) => {
                    return Err(Error::Failed("the server closed a connection".to_owned()));
                }
                Ok(received) => {
                    self.filled += received;
                    let bytes = self.bytes.get(..self.filled).unwrap_or_default();
                    let parsed = response::parse(bytes, &mut self.hint).map_err(Error::Failed)?;
                    if let Some(response) = parsed {
                        script.response(number, response)?;
                        self.filled = 0;
                        return Ok(true);
                    }
                    if received < free_bytes && self.stream.is_drained_by_short_read() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("waiting for a response", &error)),
            }
        }
    }
}
