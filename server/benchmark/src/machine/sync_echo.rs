//! [`SyncEcho`]: the least work that an ack needs. One thread reads a record from a
//! connection, writes it to space that was written before, syncs, and answers with one
//! byte. It has no second thread, no log and no protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;

use super::disk::ProbeFile;

/// Space that is written and synced before the first record. Records are written to it
/// in a circle.
const SPACE_BYTES: usize = 1 << 20;

/// A connection to the thread. Dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct SyncEcho {
    stream: TcpStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl SyncEcho {
    /// Starts the thread, for records of `record_bytes` bytes. `directory` is on the same
    /// file system as the server's data.
    ///
    /// # Errors
    /// The system has no port, no thread or no file for it.
    pub(crate) fn start(directory: &Path, record_bytes: usize) -> io::Result<SyncEcho> {
        let probe = ProbeFile::written(directory, SPACE_BYTES)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        stream.set_nodelay(true)?;
        let peer = listener.accept()?.0;
        let serve = move || answer(peer, &probe, record_bytes);
        let thread = std::thread::Builder::new().name("echo".to_owned()).spawn(serve)?;
        Ok(SyncEcho { stream, thread: Some(thread) })
    }

    /// Sends a record and waits until it is synced.
    ///
    /// # Errors
    /// The connection is closed, or the record could not be synced.
    pub(crate) fn send(&mut self, record: &[u8]) -> io::Result<()> {
        self.stream.write_all(record)?;
        self.stream.read_exact(&mut [0])
    }
}

impl Drop for SyncEcho {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // If the thread failed, `send` has returned an error already.
            let _ = thread.join();
        }
    }
}

fn answer(mut peer: TcpStream, probe: &ProbeFile, record_bytes: usize) -> io::Result<()> {
    peer.set_nodelay(true)?;
    let mut record = vec![0; record_bytes];
    let slots = (SPACE_BYTES / record_bytes.max(1)).max(1);
    for slot in (0..slots).cycle() {
        peer.read_exact(&mut record)?;
        probe.file.write_all_at(&record, (slot * record_bytes) as u64)?;
        probe.file.sync_data()?;
        peer.write_all(&[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_answered() {
        let mut echo = SyncEcho::start(&std::env::temp_dir(), 100).expect("a thread and a file");
        for _ in 0..3 {
            echo.send(&[7; 100]).expect("an answer");
        }
    }
}
