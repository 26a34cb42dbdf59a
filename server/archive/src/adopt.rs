//! `styx archive adopt`: makes a data directory the owner of its logs in the archive.
//!
//! ```text
//! log of the directory ─ same history as the manifest? ─▶ raise the log's epoch on the disk
//!                                                       ─▶ manifest: this owner, higher epoch
//! ```
//!
//! From then on the other server is fenced, and the next start of this directory's server archives.
//! A copy of a directory has the same number as the original, so the epoch alone would decide
//! between them, and each restart raises it. Therefore the adoption of all logs gives the directory a
//! new number. Invariant: a manifest is taken over only if every archived segment is a segment of
//! this log, and only as it was compared.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use styx_engine::archive::{Entry, SealedSegment};
use styx_engine::{Catalog, Log, Options};
use styx_protocol::{LogId, LogName, Position};

use crate::archiver::{owner, register};
use crate::manifest::{Manifest, Owner};
use crate::offline::{self, Progress, Tell};
use crate::random;
use crate::register::Replaced;
use crate::store::{Error, Kind, Store};

/// The logs to adopt.
#[derive(Debug, Clone)]
pub struct AdoptOptions {
    /// The data directory. No server may use it.
    pub data_directory: PathBuf,
    /// The logs. All logs of the directory if there are none.
    pub logs: Vec<LogName>,
    /// Whether nothing is adopted, and the result names the logs that would be.
    pub is_dry_run: bool,
}

/// A log of the data directory, after an adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its name.
    pub log: LogName,
    /// Its id.
    pub id: LogId,
    /// The server that owned its archive before. `None` if nothing of the log is archived.
    pub owner: Option<Owner>,
    /// The outcome for the log.
    pub outcome: Outcome,
}

/// The outcome of an adoption for a log; of a dry run, the outcome that an adoption would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This directory owns its archive now.
    Adopted,
    /// Nothing had to be done: this directory was the owner, or nothing is archived.
    Unchanged,
    /// It was not adopted, for this reason.
    Refused(String),
}

/// How long the logs may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(60);

/// Adopts logs, in the order of their names. Opens the data directory as a server does. Blocks.
///
/// # Errors
/// The store failed, the data directory is in use or cannot be opened, or it has no log with a given
/// name. Logs that were adopted before the failure stay so; run it again.
pub fn adopt(store: &Store, options: &AdoptOptions, tell: Tell<'_>) -> Result<Vec<Adopted>, Error> {
    let directory = &options.data_directory;
    let local = |why: String| Error::new(Kind::Invalid, directory.display().to_string(), why);
    if !directory.is_dir() {
        return Err(local("there is no such data directory".to_owned()));
    }
    let catalog = Catalog::open(Options::new(directory)).map_err(|e| local(e.to_string()))?;
    catalog.wait_until_open();
    let names = match options.logs.is_empty() {
        // A log that cannot be opened is an error below.
        true => catalog.list().iter().filter_map(|log| log.name.parse().ok()).collect(),
        false => options.logs.clone(),
    };
    let adopted = offline::run(async {
        let mut found = Vec::new();
        let total = names.len() as u64;
        for (done, name) in (1..).zip(names) {
            let log = catalog.log(&name).map_err(|e| local(e.to_string()))?;
            let manifest = offline::manifest(store, log.id()).await?;
            let refusal = match &manifest {
                Some(manifest) => compare(store, &log, manifest).await?.err(),
                None => has_own_entries(&log).then(|| {
                    format!(
                        "{} has no manifest of it: give the URL of its archive",
                        store.location()
                    )
                }),
            };
            found.push((log, manifest, refusal));
            tell(Progress { what: "comparing logs with the archive", done, total });
        }
        found.sort_by(|(a, ..), (b, ..)| a.name().as_str().cmp(b.name().as_str()));
        take_all(store, options, found).await
    });
    catalog.close(CLOSE_DEADLINE);
    adopted
}

/// A log, its manifest, and why it must not be adopted.
type Found = (Log, Option<Manifest>, Option<String>);

async fn take_all(
    store: &Store,
    options: &AdoptOptions,
    found: Vec<Found>,
) -> Result<Vec<Adopted>, Error> {
    let directory = &options.data_directory;
    let mut owner = owner_of(directory)?;
    let old = owner.id;
    let is_all = options.logs.is_empty();
    let is_shared = |manifest: &Manifest| manifest.owner.id == old;
    let renews =
        is_all && found.iter().any(|(_, manifest, _)| manifest.as_ref().is_some_and(is_shared));
    if renews && !options.is_dry_run {
        owner = owner::renew(directory).map_err(|e| failed(directory, &e))?;
    }
    let mut adopted = Vec::new();
    for (log, manifest, refusal) in found {
        let outcome = match (&manifest, refusal) {
            (_, Some(why)) => Outcome::Refused(why),
            (None, None) => Outcome::Unchanged,
            (Some(manifest), None) if is_shared(manifest) && !renews => {
                match manifest.epoch > log.open_epoch() {
                    true => Outcome::Refused(
                        "a copy of this data directory archives it: adopt --all, which tells this \
                         directory from its copies"
                            .to_owned(),
                    ),
                    false => Outcome::Unchanged,
                }
            }
            (Some(_), None) if options.is_dry_run => Outcome::Adopted,
            (Some(manifest), None) => {
                // First on the disk: a higher epoch there harms nothing if the store fails.
                log.raise_open_epoch(manifest.epoch.saturating_add(1)).map_err(|e| {
                    Error::new(Kind::Invalid, log.name().to_string(), e.to_string())
                })?;
                take_over(store, manifest, &owner).await?;
                Outcome::Adopted
            }
        };
        let before = manifest.map(|manifest| manifest.owner);
        adopted.push(Adopted { log: log.name().clone(), id: log.id(), owner: before, outcome });
    }
    Ok(adopted)
}

/// The owner that a data directory is for the archive. Its number is chosen and stored if there is
/// none yet.
///
/// # Errors
/// The file with the number cannot be read or written.
pub fn owner_of(data_directory: &Path) -> Result<Owner, Error> {
    owner::read_or_create(data_directory).map_err(|e| failed(data_directory, &e))
}

fn failed(directory: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Invalid, directory.display().to_string(), error.to_string())
}

/// Makes `owner` the owner of a log in the archive by compare-and-set, and raises the epoch by one. So
/// every other server is fenced. Before the owner archives, the log must have at least the epoch of
/// the manifest that is returned, and be opened again. `seen` is the manifest as the caller has
/// compared it.
///
/// # Errors
/// The store failed, or somebody changed the manifest after it was read: then nothing was changed.
pub async fn take_over(store: &Store, seen: &Manifest, owner: &Owner) -> Result<Manifest, Error> {
    let register = register(store, seen.id);
    let changed = || {
        let why = "another server archives the log at this moment: stop that server, or try again";
        Error::new(Kind::Condition, format!("the log {}", seen.name), why)
    };
    loop {
        let current = register.read().await?.ok_or_else(changed)?;
        let mut manifest = crate::archiver::decode(&register, &current.bytes)?;
        // The collector may write at the same time. It changes only the dates of garbage.
        let is_same = manifest.owner == seen.owner
            && (manifest.epoch, manifest.claim) == (seen.epoch, seen.claim)
            && (&manifest.pages, &manifest.entries) == (&seen.pages, &seen.entries)
            && manifest.deleted_us == seen.deleted_us
            && manifest.is_being_removed == seen.is_being_removed;
        if !is_same {
            return Err(changed());
        }
        manifest.owner = owner.clone();
        manifest.epoch = manifest.epoch.checked_add(1).ok_or_else(changed)?;
        manifest.claim = random::number()?;
        manifest.write_id = random::number()?;
        let bytes = manifest.encode();
        if let Replaced::Written(_) = register.replace(Some(&current.version), &bytes).await? {
            return Ok(manifest);
        }
    }
}

fn has_own_entries(log: &Log) -> bool {
    log.archived_entries().iter().any(|entry| entry.home == log.id())
}

/// Whether the archived segments of a log are those of the data directory. The inner error says why
/// not.
async fn compare(
    store: &Store,
    log: &Log,
    manifest: &Manifest,
) -> Result<Result<(), String>, Error> {
    if log.open_epoch() == 0 {
        return Ok(Err(
            "it accepts no appends: run styx verify, and repair or restore it".to_owned()
        ));
    }
    if manifest.deleted_us.is_some() {
        return Ok(Err(format!(
            "it is marked as deleted in the archive, by {}: run styx archive undelete --id {}",
            manifest.owner.name, manifest.id
        )));
    }
    let archived = offline::entries(store, manifest).await?;
    let listed = log.archived_entries();
    let unarchived = log.unarchived();
    Ok(same_history(&archived, &listed, &unarchived, manifest.start.max(log.start_position()), log))
}

/// The values that tell two segments with the same base apart. The CRC of the seal depends on all records
/// before it.
type Identity = (Position, u64, u32);

fn identity(entry: &Entry) -> Identity {
    (entry.end, entry.bytes, entry.seal_crc)
}

fn same_history(
    archived: &[Entry],
    listed: &[Entry],
    unarchived: &[SealedSegment],
    start: Position,
    log: &Log,
) -> Result<(), String> {
    let unlisted = unarchived.iter().map(|segment| segment.entry(0, 0, log.id()));
    let segments: BTreeMap<Position, Identity> = listed
        .iter()
        .copied()
        .chain(unlisted)
        .map(|entry| (entry.base, identity(&entry)))
        .collect();
    let end = log.end_position();
    for entry in archived.iter().filter(|entry| entry.end > start) {
        match segments.get(&entry.base) {
            Some(segment) if *segment == identity(entry) => {}
            None if entry.end > end => {
                let archived_end = archived.last().map_or(entry.end, |last| last.end);
                return Err(format!(
                    "the archive has its records up to position {archived_end}, but this directory \
                     only up to {end}: restore it instead"
                ));
            }
            _ => {
                return Err(format!(
                    "its history differs from the archived one at or after position {}: restore the \
                     archived log into another data directory, and compare",
                    entry.base
                ));
            }
        }
    }
    let known: BTreeMap<Position, Identity> =
        archived.iter().map(|entry| (entry.base, identity(entry))).collect();
    match listed
        .iter()
        .find(|entry| entry.end > start && known.get(&entry.base) != Some(&identity(entry)))
    {
        None => Ok(()),
        Some(entry) => Err(format!(
            "the archive lacks its segment at position {}, which was archived: is this its archive?",
            entry.base
        )),
    }
}
