//! [`IdleConnections`]: thousands of idle connections, held by one thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that have sent the same request.
#[derive(Debug)]
pub struct IdleConnections {
    connections: Vec<TcpStream>,
}

impl IdleConnections {
    /// Opens `count` connections, and sends each the same bytes. Raises the process's
    /// limit of open files to its maximum.
    ///
    /// # Panics
    /// When one cannot be opened. The maximum number of open files must be above
    /// `count`.
    #[must_use]
    pub fn open(address: SocketAddr, count: usize, request: &[u8]) -> IdleConnections {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let open = |number| {
            let mut connection = TcpStream::connect(address)
                .unwrap_or_else(|e| panic!("connection {number} of {count}: {e}"));
            connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout above 0");
            connection.write_all(request).expect("the bytes can be sent");
            connection
        };
        IdleConnections { connections: (0..count).map(open).collect() }
    }

    /// The number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Reads from each until `enough` is true of the bytes that it received since the
    /// last call, and returns those.
    ///
    /// # Panics
    /// When a connection ends or receives nothing for a minute before that.
    pub fn each_reads(&mut self, what: &str, enough: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(self.connections.len());
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let mut received = Vec::new();
            while !enough(&received) {
                if let Err(e) = receive(connection, &mut received) {
                    let shown = received.escape_ascii();
                    panic!("connection {number} did not receive {what}: {e}; it received {shown}");
                }
            }
            all.push(received);
        }
        all
    }

    /// Sends each the same bytes.
    ///
    /// # Panics
    /// When a connection has ended.
    pub fn each_sends(&mut self, bytes: &[u8]) {
        for connection in &mut self.connections {
            connection.write_all(bytes).expect("the connection is open");
        }
    }
}

fn receive(connection: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match connection.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            received.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
