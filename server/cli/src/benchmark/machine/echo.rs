//! The least that an ack can be: a thread that reads a record from a connection,
//! writes it onto space that was written before, syncs, and answers with a byte.
//! No hand-over to another thread, no log, no protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;

use super::disk::Probe;

/// Written and synced before the first record; records go round in it.
const SPACE_BYTES: usize = 1 << 20;

/// One connection to such a thread, which ends with it.
#[derive(Debug)]
pub(in crate::benchmark) struct Echo {
    stream: TcpStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Echo {
    /// Starts it, for records of so many bytes. `directory` is one on the filesystem
    /// that the server's data is on.
    ///
    /// # Errors
    /// The system has no port, no thread or no file for it.
    pub(in crate::benchmark) fn start(directory: &Path, record_bytes: usize) -> io::Result<Echo> {
        let probe = Probe::written(directory, SPACE_BYTES)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        stream.set_nodelay(true)?;
        let peer = listener.accept()?.0;
        let serve = move || answer(peer, &probe, record_bytes);
        let thread = std::thread::Builder::new().name("echo".to_owned()).spawn(serve)?;
        Ok(Echo { stream, thread: Some(thread) })
    }

    /// Sends a record and waits for its answer.
    ///
    /// # Errors
    /// The connection is gone, or the record could not be synced.
    pub(in crate::benchmark) fn ask(&mut self, record: &[u8]) -> io::Result<()> {
        self.stream.write_all(record)?;
        self.stream.read_exact(&mut [0])
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // Why it failed, whoever asked has heard.
            let _ = thread.join();
        }
    }
}

fn answer(mut peer: TcpStream, probe: &Probe, record_bytes: usize) -> io::Result<()> {
    peer.set_nodelay(true)?;
    let mut record = vec![0; record_bytes];
    let places = (SPACE_BYTES / record_bytes.max(1)).max(1);
    for place in (0..places).cycle() {
        peer.read_exact(&mut record)?;
        probe.file.write_all_at(&record, (place * record_bytes) as u64)?;
        probe.file.sync_data()?;
        peer.write_all(&[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_answered() {
        let mut echo = Echo::start(&std::env::temp_dir(), 100).expect("a thread and a file");
        for _ in 0..3 {
            echo.ask(&[7; 100]).expect("an answer");
        }
    }
}
