//! Backups and restores: archives are streamed, in bounded memory.
//!
//! ```text
//! backup    server ─▶ task on the client's threads ─▶ [channel of 4 chunks] ─▶ Backup::next_chunk
//! restore   Restore::write ─▶ [channel of 4 chunks] ─▶ task ─▶ request body ─▶ server
//! ```
//! The channel to a restore's task ends with [`BodyPart::End`]. If it closes without that,
//! the request is aborted, so that the server never accepts a partial archive.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::LogName;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::{Error, Kind};
use crate::process::{ForgetInChild, Process};
use crate::runtime::{AbortOnDrop, catch_panic, task_error};
use crate::transport::{BodyPart, Request, RequestBody, Transport};

/// The most chunks between the caller and the client's threads.
const CHUNKS_MAX: usize = 4;
/// The most bytes of a restore's chunk. Larger chunks are split.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// An archive that is being received. Dropping it ends the backup.
#[derive(Debug)]
#[must_use = "a backup must be read"]
pub struct Backup {
    chunks: ForgetInChild<mpsc::Receiver<Result<Bytes, Error>>>,
    process: Process,
    _task: AbortOnDrop<()>,
}

impl Backup {
    /// The next bytes of the archive; `None` only at its end.
    ///
    /// Cancel safe: no chunk is lost.
    ///
    /// # Errors
    /// The connection broke, or nothing was received for the call timeout. The bytes that
    /// were read so far are not a valid archive.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.process.check()?;
        match self.chunks.recv().await {
            // The task marks the end of the archive with an empty chunk.
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
    let timeout = transport.options().call_timeout;
    let request = Request::get(format!("{path}/backup"));
    let mut response = client
        .runtime()
        .run(async move { in_time(timeout, transport.send(&request, RequestBody::Empty)).await })
        .await?;
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    let task = client.runtime().spawn_owned(async move {
        loop {
            let next = catch_panic(in_time(timeout, response.chunk())).await;
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
    let chunks = ForgetInChild::new(process, chunks);
    Ok(Backup { chunks, process, _task: task })
}

/// A log that is being restored. If it is dropped before [`finish`](Self::finish), the
/// server discards the log.
#[derive(Debug)]
#[must_use = "the log does not exist until the restore is finished"]
pub struct Restore {
    parts: ForgetInChild<mpsc::Sender<BodyPart>>,
    process: Process,
    task: AbortOnDrop<Result<(), Error>>,
}

impl Restore {
    /// Sends the next bytes of the archive. Waits while the server is slower
    /// (back-pressure).
    ///
    /// Not cancel safe: a part of a chunk of more than 256 KiB may have been sent.
    ///
    /// # Errors
    /// The server rejected the archive (`malformed_records`, `log_exist`), or the
    /// connection broke.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.process.check()?;
        let mut rest = chunk;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            let sent = ForgetInChild::future(self.process, self.parts.send(BodyPart::Data(part)));
            if sent.await.is_err() {
                return match self.outcome().await {
                    Ok(()) => {
                        Err(Error::bad_answer("the server responded before the end of the archive"))
                    }
                    Err(error) => Err(error),
                };
            }
        }
        Ok(())
    }

    /// Ends the archive and waits until the log exists.
    ///
    /// # Errors
    /// As [`write`](Self::write). The log was not created, except that it may exist after
    /// `connection_failed` or `timed_out`.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.process.check()?;
        // If the task has already ended, its outcome has the reason.
        let _ = ForgetInChild::future(self.process, self.parts.send(BodyPart::End)).await;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Result<(), Error> {
        (&mut self.task).await.unwrap_or_else(|failed| Err(task_error(failed)))
    }
}

pub(super) fn restore(client: &Client, name: &LogName) -> Result<Restore, Error> {
    let process = client.runtime().process();
    process.check()?;
    let (parts, from_caller) = mpsc::channel(CHUNKS_MAX);
    let transport = Arc::clone(client.transport());
    let request = Request::post("/logs/restore").query("name", name);
    let send = async move { send(&transport, &request, from_caller).await };
    let task = client.runtime().spawn_owned(send);
    Ok(Restore { parts: ForgetInChild::new(process, parts), process, task })
}

/// The task of a restore. The call timeout applies to each step, but the caller may take
/// any time between two chunks.
async fn send(
    transport: &Arc<Transport>,
    request: &Request,
    mut from_caller: mpsc::Receiver<BodyPart>,
) -> Result<(), Error> {
    let timeout = transport.options().call_timeout;
    let (to_body, body) = mpsc::channel(1);
    let response = transport.send(request, RequestBody::Stream(body));
    tokio::pin!(response);
    loop {
        let part = tokio::select! {
            done = &mut response => return done.map(drop),
            part = from_caller.recv() => part.ok_or_else(|| Error::closed("restore"))?,
        };
        let is_end = matches!(part, BodyPart::End);
        tokio::select! {
            done = &mut response => return done.map(drop),
            sent = tokio::time::timeout(timeout, to_body.send(part)) => {
                if sent.is_err() {
                    return Err(stalled(timeout));
                }
            }
        }
        if is_end {
            break;
        }
    }
    let response = in_time(timeout, response).await;
    // From here on the log may exist, even if the response is lost.
    response.map(drop).map_err(|error| match error.kind() {
        Kind::TimedOut => error.with_maybe_appended(true),
        _ => error,
    })
}

async fn in_time<T>(
    timeout: Duration,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout, step).await {
        Ok(done) => done,
        Err(_) => Err(stalled(timeout)),
    }
}

fn stalled(timeout: Duration) -> Error {
    Error::new(Kind::TimedOut, format!("the server made no progress for {timeout:?}"))
}
