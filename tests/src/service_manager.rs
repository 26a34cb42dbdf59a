//! [`ServiceManager`]: the socket to which a server reports its state, as systemd has it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Scratch, Settings};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    _scratch: Scratch,
}

impl ServiceManager {
    /// Creates one.
    ///
    /// # Panics
    /// When its socket cannot be bound.
    #[must_use]
    pub fn start() -> ServiceManager {
        let scratch = Scratch::new("notify");
        let path = scratch.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a new path");
        ServiceManager { socket, path, _scratch: scratch }
    }

    /// Settings of a server that reports to it.
    ///
    /// # Panics
    /// When the path of the socket is not text.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let path = self.path.to_str().expect("a path of text");
        Settings::default().variable("NOTIFY_SOCKET", path)
    }

    /// The next message; `None` if there is none within `limit`.
    ///
    /// # Panics
    /// When the socket fails.
    #[must_use]
    pub fn message(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).expect("a limit above 0");
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(count) => Some(String::from_utf8_lossy(&bytes[..count]).into_owned()),
            Err(_) => None,
        }
    }

    /// Waits for a message with this line, and returns the messages before it.
    ///
    /// # Panics
    /// When it does not come within 30 s.
    #[track_caller]
    pub fn expect(&self, line: &str) -> Vec<String> {
        let (begun, mut others) = (Instant::now(), Vec::new());
        while begun.elapsed() < PATIENCE {
            match self.message(PATIENCE) {
                Some(message) if message.lines().any(|found| found == line) => return others,
                Some(message) => others.push(message),
                None => break,
            }
        }
        panic!("no {line}, only {others:?}");
    }
}
