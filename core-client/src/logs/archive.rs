//! Backups and restores: archives that stream, in bounded memory.
//!
//! ```text
//! backup    server ─▶ task on the core's threads ─▶ [channel of 4 chunks] ─▶ Backup::next_chunk
//! restore   Restore::write ─▶ [channel of 4 chunks] ─▶ task ─▶ request body ─▶ server
//! ```
//! The channel to a restore's task ends with [`Piece::End`]; one that merely
//! closes aborts the request, so that nothing half is taken for whole.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::LogName;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::runtime::{AbortOnDrop, Process};
use crate::transport::{Body, Piece, Request, Transport};

/// Chunks between the caller and the core's threads.
const CHUNKS_MAX: usize = 4;
/// Bytes of one of a restore's chunks; larger ones are cut.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// An archive as it comes. Dropping it ends the backup.
#[derive(Debug)]
#[must_use = "a backup has to be read"]
pub struct Backup {
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
    process: Process,
    _task: AbortOnDrop<()>,
}

impl Backup {
    /// The next bytes of the archive; `None` at its end, and only there.
    ///
    /// Cancel safe: no chunk is lost.
    ///
    /// # Errors
    /// The connection broke or stood still: what was read so far is no archive.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.process.check()?;
        match self.chunks.recv().await {
            // An empty chunk is how the task says that it has come to the end.
            Some(Ok(chunk)) if chunk.is_empty() => {
                self.chunks.close();
                Ok(None)
            }
            Some(next) => next.map(Some),
            None => Err(Error::closed("backup")),
        }
    }
}

pub(super) async fn backup(client: &Client, path: &str) -> Result<Backup, Error> {
    let process = client.runtime().process();
    let transport = Arc::clone(client.transport());
    let patience = transport.options().call_timeout;
    let request = Request::get(format!("{path}/backup"));
    let mut answer = client
        .runtime()
        .run(async move { in_time(patience, transport.send(&request, Body::Empty)).await })
        .await?;
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    let task = client.runtime().spawn(async move {
        loop {
            let next = in_time(patience, answer.chunk()).await;
            let last = !matches!(&next, Ok(Some(_)));
            let next = match next {
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                next => next.map(Option::unwrap_or_default),
            };
            if sender.send(next).await.is_err() || last {
                return;
            }
        }
    });
    Ok(Backup { chunks, process, _task: AbortOnDrop(task) })
}

/// A log that is being restored. Dropping it before [`finish`](Self::finish)
/// leaves nothing behind.
#[derive(Debug)]
#[must_use = "a restore is nothing until it is finished"]
pub struct Restore {
    pieces: mpsc::Sender<Piece>,
    process: Process,
    task: AbortOnDrop<Result<(), Error>>,
}

impl Restore {
    /// Sends the next bytes of the archive; waits while the server is behind.
    ///
    /// Not cancel safe: of a chunk of more than 256 KiB a part may have been
    /// sent.
    ///
    /// # Errors
    /// The server refused the archive (`malformed_records`, `log_exist`), or the
    /// connection broke.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.process.check()?;
        let mut rest = chunk;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            if self.pieces.send(Piece::Data(piece)).await.is_err() {
                return match self.outcome().await {
                    Ok(()) => Err(Error::bad_answer("the server had enough before the end")),
                    Err(error) => Err(error),
                };
            }
        }
        Ok(())
    }

    /// Ends the archive and waits until the log is there.
    ///
    /// # Errors
    /// As [`write`](Self::write): nothing is left behind then. After
    /// `connection_failed` or `timed_out` the log may be there.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.process.check()?;
        // When the task is over already, its outcome says why.
        let _ = self.pieces.send(Piece::End).await;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Result<(), Error> {
        match (&mut self.task.0).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::closed("client")),
        }
    }
}

pub(super) fn restore(client: &Client, name: &LogName) -> Result<Restore, Error> {
    let process = client.runtime().process();
    process.check()?;
    let (pieces, from_caller) = mpsc::channel(CHUNKS_MAX);
    let transport = Arc::clone(client.transport());
    let request = Request::post("/logs/restore").query("name", name);
    let task = client.runtime().spawn(async move { send(&transport, &request, from_caller).await });
    Ok(Restore { pieces, process, task: AbortOnDrop(task) })
}

/// The task of a restore. Each step has the call time-out, but the caller may
/// take as long as it likes between two chunks.
async fn send(
    transport: &Arc<Transport>,
    request: &Request,
    mut from_caller: mpsc::Receiver<Piece>,
) -> Result<(), Error> {
    let patience = transport.options().call_timeout;
    let (to_body, body) = mpsc::channel(1);
    let answered = transport.send(request, Body::Stream(body));
    tokio::pin!(answered);
    loop {
        let piece = tokio::select! {
            done = &mut answered => return done.map(drop),
            piece = from_caller.recv() => piece.ok_or_else(|| Error::closed("restore"))?,
        };
        let is_end = matches!(piece, Piece::End);
        tokio::select! {
            done = &mut answered => return done.map(drop),
            sent = tokio::time::timeout(patience, to_body.send(piece)) => {
                if sent.is_err() {
                    return Err(stands_still(patience));
                }
            }
        }
        if is_end {
            break;
        }
    }
    let answer = in_time(patience, answered).await;
    // From here on the log may be there although nobody could say so.
    answer.map(drop).map_err(|error| match error.kind() {
        Kind::TimedOut => error.with_maybe_appended(true),
        _ => error,
    })
}

async fn in_time<T>(
    patience: Duration,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(patience, step).await {
        Ok(done) => done,
        Err(_) => Err(stands_still(patience)),
    }
}

fn stands_still(patience: Duration) -> Error {
    Error::new(Kind::TimedOut, format!("the server stood still for {patience:?}"))
}
