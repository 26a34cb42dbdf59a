//! [`ManifestWriter`]: the manifest of one log, changed by compare-and-set.
//!
//! Before anything is uploaded, the writer claims the log's epoch: it writes the epoch together with
//! a random number of this process. The keys of objects contain the epoch, so two processes never
//! write the same key, even if one works on a copy of the other's directory. Invariant: the manifest
//! is changed only while its owner is this server and no other process has claimed this epoch or a
//! higher one. Otherwise this server is fenced: it changes nothing more.

use std::time::Duration;

use styx_engine::Log;
use styx_protocol::LogId;

use super::removals::Removal;
use crate::keys;
use crate::manifest::{self, Manifest, Owner, page};
use crate::random;
use crate::register::{Register, Replaced};
use crate::store::{Error, Kind, Store, Version};

/// How long an unclear answer is looked into before the next attempt begins anew.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a manifest was not changed.
#[derive(Debug)]
pub(super) enum Stop {
    /// The store failed. Another attempt may succeed.
    Store(Error),
    /// Another server archives the log.
    Fenced(String),
    /// The log cannot be archived, for this reason.
    Halted(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Store(error)
    }
}

/// The manifest of a log as it was last read or written.
#[derive(Debug)]
pub(super) struct ManifestWriter {
    store: Store,
    register: Register,
    owner: Owner,
    epoch: u32,
    claim: u128,
    version: Option<Version>,
    manifest: Manifest,
}

/// The register of a log's manifest.
pub(crate) fn register(store: &Store, id: LogId) -> Register {
    Register::new(store.clone(), keys::manifest(id), manifest::BYTES_MAX, PATIENCE)
}

/// Decodes a manifest.
pub(crate) fn decode(register: &Register, bytes: &[u8]) -> Result<Manifest, Error> {
    Manifest::decode(bytes)
        .map_err(|e| Error::new(Kind::Damaged, register.key().to_owned(), e.to_string()))
}

impl ManifestWriter {
    /// Reads the manifest of a log and claims the log's epoch, if this process has not done so.
    pub(super) async fn open(
        store: &Store,
        log: &Log,
        owner: Owner,
        claim: u128,
    ) -> Result<Self, Stop> {
        let register = register(store, log.id());
        let epoch = log.open_epoch();
        let found = register.read().await?;
        let (version, manifest) = match found {
            Some(current) => (Some(current.version), read(&register, &current.bytes)?),
            None => (None, first(store, &register, log, epoch, owner.clone())?),
        };
        let store = store.clone();
        let mut writer = ManifestWriter { store, register, owner, epoch, claim, version, manifest };
        writer.check_fence()?;
        writer.check_removal()?;
        if writer.manifest.epoch < epoch || writer.version.is_none() {
            writer.change(|_| Ok(())).await?;
        }
        Ok(writer)
    }

    /// The manifest as it was last read or written.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Changes the manifest. `change` runs again if another writer came first, on its manifest.
    pub(super) async fn change(
        &mut self,
        mut change: impl FnMut(&mut Manifest) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        loop {
            let mut manifest = self.manifest.clone();
            change(&mut manifest)?;
            manifest.epoch = self.epoch;
            manifest.claim = self.claim;
            manifest.owner = self.owner.clone();
            // The log is there. Only a copy of the directory can have said something else.
            manifest.deleted_us = None;
            manifest.write_id = random::number()?;
            while let Some((page, bytes)) = manifest.spill() {
                let key = keys::File::Page { base: page.base, epoch: page.epoch };
                self.store.put(&key.key(manifest.id), bytes).await?;
            }
            let bytes = manifest.encode();
            match self.register.replace(self.version.as_ref(), &bytes).await? {
                Replaced::Written(version) => {
                    self.version = Some(version);
                    self.manifest = manifest;
                    return Ok(());
                }
                Replaced::Lost(Some(current)) => {
                    self.manifest = read(&self.register, &current.bytes)?;
                    self.version = Some(current.version);
                    self.check_fence()?;
                    self.check_removal()?;
                }
                Replaced::Lost(None) => {
                    let why = format!("the manifest {} was removed", self.register.key());
                    return Err(Stop::Halted(why));
                }
            }
        }
    }

    /// The entries of a page.
    pub(super) async fn read_page(
        &self,
        page: &manifest::Page,
    ) -> Result<Vec<styx_engine::archive::Entry>, Error> {
        read_page(&self.store, self.manifest.id, page).await
    }

    /// Objects of a log that the collector removes may be gone.
    fn check_removal(&self) -> Result<(), Stop> {
        match self.manifest.is_being_removed {
            true => Err(Stop::Halted(format!(
                "styx archive collect removes the objects in {}, because this log was marked as \
                 deleted",
                keys::folder(self.manifest.id)
            ))),
            false => Ok(()),
        }
    }

    fn check_fence(&self) -> Result<(), Stop> {
        match self.version {
            Some(_) => check_fence(&self.manifest, &self.owner, self.epoch, self.claim),
            None => Ok(()),
        }
    }
}

/// Whether a process with this owner and claim may write the manifest of a log with this epoch.
fn check_fence(manifest: &Manifest, owner: &Owner, epoch: u32, claim: u128) -> Result<(), Stop> {
    let is_claimed_by_another = manifest.epoch == epoch && manifest.claim != claim;
    if manifest.owner.id != owner.id || manifest.epoch > epoch || is_claimed_by_another {
        return Err(Stop::Fenced(manifest.owner.name.clone()));
    }
    Ok(())
}

/// Marks the manifest of a log that was deleted or truncated. The collector removes the objects
/// after the time of grace.
pub(super) async fn mark_deleted(
    store: &Store,
    id: LogId,
    owner: &Owner,
    removal: Removal,
) -> Result<(), Stop> {
    let register = register(store, id);
    loop {
        let Some(current) = register.read().await? else { return Ok(()) };
        let mut manifest = read(&register, &current.bytes)?;
        check_fence(&manifest, owner, removal.epoch, removal.claim)?;
        if manifest.deleted_us.is_some() {
            return Ok(());
        }
        manifest.deleted_us = Some(0);
        manifest.write_id = random::number()?;
        let replaced = register.replace(Some(&current.version), &manifest.encode()).await?;
        if let Replaced::Written(_) = replaced {
            return Ok(());
        }
    }
}

/// Reads a page and compares it with its description in the manifest.
pub(crate) async fn read_page(
    store: &Store,
    id: LogId,
    page: &manifest::Page,
) -> Result<Vec<styx_engine::archive::Entry>, Error> {
    let key = keys::File::Page { base: page.base, epoch: page.epoch }.key(id);
    let (bytes, _) = store.get(&key, page::BYTES_MAX).await?;
    let damaged = |why: String| Error::new(Kind::Damaged, format!("get {key}"), why);
    if crc32c::crc32c(&bytes) != page.crc {
        return Err(damaged("the page has another checksum than the manifest says".to_owned()));
    }
    page::decode(&bytes).map_err(|e| damaged(e.to_string()))
}

/// The first manifest of a log. A restored log begins with the entries of the log that it was
/// restored from, whose objects it reads.
fn first(
    store: &Store,
    register: &Register,
    log: &Log,
    epoch: u32,
    owner: Owner,
) -> Result<Manifest, Stop> {
    let (name, config) = (log.name().clone(), log.config());
    let mut manifest = Manifest::new(name, log.id(), config, epoch, owner);
    manifest.raise_start(log.start_position());
    let entries = log.archived_entries();
    if entries.iter().any(|entry| entry.home == log.id()) {
        return Err(Stop::Halted(format!(
            "{} has no manifest {}, but the log has archived segments: point archive.url to \
             the archive of this log",
            store.location(),
            register.key()
        )));
    }
    manifest.inherit(log.lineage(), entries);
    Ok(manifest)
}

fn read(register: &Register, bytes: &[u8]) -> Result<Manifest, Stop> {
    decode(register, bytes).map_err(|e| Stop::Halted(e.to_string()))
}
