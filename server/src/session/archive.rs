//! Backups and restores: the engine's blocking reader and writer run on a thread,
//! connected to the network by a channel of a few chunks.
//!
//! ```text
//! backup    Log::backup → ChunkWriter → channel → Backup::next → answer
//! restore   body → RestoreInput → channel → ChunkReader → Catalog::restore
//! ```
//!
//! If the peer disconnects, its end of the channel is dropped, which ends the thread.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use styx_protocol::{Code, LogId, LogName};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::{ARCHIVES_MAX, Error, OpenLog, Sessions};

const CHUNK_BYTES: usize = 128 << 10;
/// Chunks between the thread and the network.
const CHUNKS_MAX: usize = 4;

/// A backup that is being sent.
#[derive(Debug)]
pub(crate) struct Backup {
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
}

/// A restore that is being received.
#[derive(Debug)]
pub(crate) struct RestoreInput {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    done: JoinHandle<Result<LogId, styx_engine::Error>>,
}

impl Sessions {
    /// Begins a backup of the log.
    pub(crate) fn backup(&self, log: &OpenLog) -> Result<Backup, Error> {
        let permit = self.archive_permit()?;
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let log = log.log.clone();
        tokio::task::spawn_blocking(move || {
            let mut out = ChunkWriter { chunk: BytesMut::new(), sender };
            let done = log.backup(&mut out).map_err(Error::from);
            let flushed = done.and_then(|()| out.flush().map_err(|_| gone()));
            if let Err(error) = flushed {
                // The receiver may be gone; then nobody needs the error.
                let _ = out.sender.blocking_send(Err(error));
            }
            drop(permit);
        });
        Ok(Backup { chunks })
    }

    /// Begins to restore an archive as a new log.
    pub(crate) fn restore(&self, name: LogName) -> Result<RestoreInput, Error> {
        let permit = self.archive_permit()?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
        let catalog = self.catalog.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut input = ChunkReader { chunk: Bytes::new(), receiver };
            catalog.restore(&name, &mut input).map(|log| log.id())
        });
        Ok(RestoreInput { chunks, done })
    }

    fn archive_permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.archives.clone().try_acquire_owned().map_err(|_| {
            let message =
                format!("{ARCHIVES_MAX} backups and restores are already running; try again later");
            Error::new(Code::Overloaded, message)
        })
    }
}

impl Backup {
    /// The next bytes of the archive; `None` when it is complete.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.chunks.recv().await
    }
}

impl RestoreInput {
    /// Passes on the next bytes; returns whether more are wanted.
    pub(crate) async fn push(&mut self, chunk: io::Result<Bytes>) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Call it after the last bytes: waits for the log and returns its id.
    pub(crate) async fn finish(self) -> Result<LogId, Error> {
        drop(self.chunks);
        match self.done.await {
            Ok(done) => Ok(done?),
            Err(panic) => Err(Error::new(
                Code::UnknownError,
                format!("the restore failed because of a bug: {panic}"),
            )),
        }
    }
}

struct ChunkWriter {
    chunk: BytesMut,
    sender: mpsc::Sender<Result<Bytes, Error>>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct ChunkReader {
    chunk: Bytes,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
}

impl Read for ChunkReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.chunk.len());
        let bytes = self.chunk.split_to(count);
        out.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
        Ok(count)
    }
}

fn gone() -> Error {
    Error::new(Code::UnknownError, "the receiver of the backup disconnected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_through_both_channels_in_order() {
        let (sender, mut chunks) = mpsc::channel(CHUNKS_MAX);
        let mut writer = ChunkWriter { chunk: BytesMut::new(), sender };
        writer.write_all(b"abc").expect("it is taken");
        writer.write_all(b"def").expect("it is taken");
        writer.flush().expect("it is sent");
        drop(writer);
        let sent = chunks.blocking_recv().expect("a chunk").expect("bytes");
        let (back, receiver) = mpsc::channel(CHUNKS_MAX);
        back.blocking_send(Ok(sent)).expect("room");
        back.blocking_send(Ok(Bytes::new())).expect("room");
        back.blocking_send(Err(io::ErrorKind::TimedOut.into())).expect("room");
        let mut reader = ChunkReader { chunk: Bytes::new(), receiver };
        let mut six = [0; 6];
        reader.read_exact(&mut six).expect("six bytes");
        assert_eq!(&six, b"abcdef");
        let fault = reader.read(&mut six).expect_err("the fault comes through");
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn writing_fails_after_the_receiver_is_dropped() {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        drop(chunks);
        let mut writer = ChunkWriter { chunk: BytesMut::new(), sender };
        assert!(writer.write_all(&vec![0; CHUNK_BYTES]).is_err());
    }
}
