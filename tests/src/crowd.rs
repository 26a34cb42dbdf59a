//! [`Crowd`]: thousands of idle connections, held by one thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that have sent the same request.
#[derive(Debug)]
pub struct Crowd {
    members: Vec<TcpStream>,
}

impl Crowd {
    /// Opens `count` connections, and sends each the same bytes. Raises the process's
    /// limit of open files to its maximum.
    ///
    /// # Panics
    /// When one cannot be opened. The maximum number of open files must be above
    /// `count`.
    #[must_use]
    pub fn gather(address: SocketAddr, count: usize, request: &[u8]) -> Crowd {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let open = |number| {
            let mut member = TcpStream::connect(address)
                .unwrap_or_else(|e| panic!("connection {number} of {count}: {e}"));
            member.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
            member.write_all(request).expect("it is taken");
            member
        };
        Crowd { members: (0..count).map(open).collect() }
    }

    /// The number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Reads from each until `enough` is true of the bytes that it received since the
    /// last call, and returns those.
    ///
    /// # Panics
    /// When one ends, or waits for a minute, before there is enough.
    pub fn each_reads(&mut self, what: &str, enough: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(self.members.len());
        for (number, member) in self.members.iter_mut().enumerate() {
            let mut received = Vec::new();
            while !enough(&received) {
                if let Err(e) = receive(member, &mut received) {
                    let shown = received.escape_ascii();
                    panic!("member {number} waits for {what}: {e}, after {shown}");
                }
            }
            all.push(received);
        }
        all
    }

    /// Sends each the same bytes.
    ///
    /// # Panics
    /// When one is gone.
    pub fn each_sends(&mut self, bytes: &[u8]) {
        for member in &mut self.members {
            member.write_all(bytes).expect("it is there");
        }
    }
}

fn receive(member: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match member.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            received.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
