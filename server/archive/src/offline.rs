//! The parts that the offline commands share: a runtime, progress, and reading all manifests of an archive.

use std::future::Future;
use std::io;

use futures_util::{StreamExt, stream};
use styx_engine::archive::Entry;
use styx_protocol::LogId;

use crate::keys;
use crate::manifest::{Manifest, page};
use crate::store::{Error, Kind, Store};

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The work that is done now: a verb and a noun.
    pub what: &'a str,
    /// How much of it is done.
    pub done: u64,
    /// All of it.
    pub total: u64,
}

/// A function that is told the progress.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// Requests at the same time.
pub(crate) const AT_ONCE: usize = 64;

/// Runs a command on a runtime of its own.
pub(crate) fn run<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("styx-archive")
        .enable_all()
        .build()
        .map_err(|e: io::Error| Error::new(Kind::Invalid, "threads", e.to_string()))?;
    runtime.block_on(work)
}

/// The manifest of a log, or why it cannot be used.
#[derive(Debug)]
pub(crate) struct FoundLog {
    pub(crate) id: LogId,
    pub(crate) manifest: Result<Manifest, Error>,
}

/// Reads the manifests of all logs, several at a time, in the order of their ids. Folders without a
/// manifest are left out: their first segment was not archived yet.
pub(crate) async fn manifests(store: &Store, tell: Tell<'_>) -> Result<Vec<FoundLog>, Error> {
    let folders = store.folders(keys::LOGS).await?;
    let ids = folders.iter().filter_map(|folder| u128::from_str_radix(folder, 16).ok());
    let mut ids: Vec<LogId> = ids.map(LogId).collect();
    ids.sort_by_key(|id| id.0);
    let total = ids.len() as u64;
    let mut reads = stream::iter(ids)
        .map(|id| async move { (id, manifest(store, id).await) })
        .buffered(AT_ONCE);
    let mut found = Vec::new();
    let mut done = 0;
    while let Some((id, manifest)) = reads.next().await {
        done += 1;
        tell(Progress { what: "reading manifests", done, total });
        match manifest {
            Ok(None) => {}
            Ok(Some(manifest)) => found.push(FoundLog { id, manifest: Ok(manifest) }),
            Err(e) if e.kind == Kind::Damaged => found.push(FoundLog { id, manifest: Err(e) }),
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The manifest of a log, if it has one.
pub(crate) async fn manifest(store: &Store, id: LogId) -> Result<Option<Manifest>, Error> {
    let register = crate::archiver::register(store, id);
    let Some(current) = register.read().await? else { return Ok(None) };
    let manifest = crate::archiver::decode(&register, &current.bytes)?;
    match manifest.id == id {
        true => Ok(Some(manifest)),
        false => {
            let why = format!("it is the manifest of the log {}", manifest.id);
            Err(Error::new(Kind::Damaged, register.key().to_owned(), why))
        }
    }
}

/// All entries of a log, those of its pages included, ascending.
pub(crate) async fn entries(store: &Store, manifest: &Manifest) -> Result<Vec<Entry>, Error> {
    let pages = stream::iter(manifest.pages.clone())
        .map(|page| async move { crate::archiver::read_page(store, manifest.id, &page).await })
        .buffered(AT_ONCE / 8);
    let mut pages = std::pin::pin!(pages);
    let mut entries = Vec::with_capacity(manifest.pages.len() * page::ENTRIES);
    while let Some(page) = pages.next().await {
        entries.extend(page?);
    }
    entries.extend(&manifest.entries);
    Ok(entries)
}
