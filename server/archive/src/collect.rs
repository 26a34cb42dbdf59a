//! `styx archive collect`: removes superfluous objects, after a time of grace.
//!
//! ```text
//! garbage of a manifest ─ seen for the first time: note the time ─ grace over: delete, forget
//! object of an older epoch that no manifest names ─ older than the grace: delete
//! deleted log ─ grace over: delete all of it, the manifest last
//! ```
//!
//! All times are those of the store, so no clock of a server matters. An upload can be on its way
//! without being named yet, but only in the current epoch of its log. The manifest write of an older
//! epoch can never succeed, because the manifest has changed since. Invariant: an object of the
//! current epoch is never removed unless the manifest calls it garbage, and neither is an object
//! that another log may read.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::LogId;

use crate::keys::{self, File};
use crate::manifest::{self, Manifest};
use crate::offline::{self, FoundLog, Progress, Tell};
use crate::random;
use crate::register::Replaced;
use crate::sabotage::{Mistake, makes};
use crate::store::{Error, Listed, Store, Version};

/// The most objects of one log.
const OBJECTS_MAX: usize = 10_000_000;

/// What a collection has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were removed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects of older epochs that no manifest named: uploads that a crash interrupted.
    pub orphans: u64,
    /// Objects that wait for the end of their time of grace.
    pub waiting: u64,
    /// Logs that were removed completely.
    pub logs: u64,
    /// Objects and logs that were left alone because something is wrong with them.
    pub problems: Vec<String>,
}

/// Removes garbage, orphans and deleted logs that are older than `grace`. Blocks. May run while
/// servers archive to the same store.
///
/// # Errors
/// The store failed. The objects that were removed are not reported then, and the next run
/// continues.
pub fn collect(store: &Store, grace: Duration, tell: Tell<'_>) -> Result<Collected, Error> {
    offline::run(async {
        let now_us = now(store).await?;
        let found = offline::manifests(store, tell).await?;
        let homes = foreign_homes(store, &found).await?;
        let grace_us = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
        let mut collection = Collection {
            store,
            horizon_us: now_us.saturating_sub(grace_us),
            now_us,
            collected: Collected::default(),
        };
        let total = found.len() as u64;
        for (done, log) in (1..).zip(found) {
            tell(Progress { what: "collecting logs", done, total });
            match log.manifest {
                Ok(_) => collection.log(log.id, homes.contains(&log.id)).await?,
                Err(e) => collection.collected.problems.push(e.to_string()),
            }
        }
        Ok(collection.collected)
    })
}

/// The time of the store: that of an object that is written now.
async fn now(store: &Store) -> Result<u64, Error> {
    let key = format!("probe/clock-{:032x}", random::number()?);
    store.put(&key, Bytes::from_static(b"clock")).await?;
    let described = store.head(&key).await;
    store.delete(&key).await?;
    Ok(described?.modified_us)
}

/// Logs whose objects are read by other logs, which were restored from them.
async fn foreign_homes(store: &Store, found: &[FoundLog]) -> Result<HashSet<LogId>, Error> {
    let mut homes = HashSet::new();
    for manifest in found.iter().filter_map(|log| log.manifest.as_ref().ok()) {
        if manifest.lineage.ancestors().is_empty() {
            continue;
        }
        homes.extend(manifest.lineage.ancestors().iter().map(|ancestor| ancestor.id));
        for entry in offline::entries(store, manifest).await? {
            if entry.home != manifest.id {
                homes.insert(entry.home);
            }
        }
    }
    Ok(homes)
}

struct Collection<'a> {
    store: &'a Store,
    now_us: u64,
    /// Objects that were garbage at this time may be removed.
    horizon_us: u64,
    collected: Collected,
}

impl Collection<'_> {
    /// Collects one log. Reads its manifest again, so that the listing is older than the manifest
    /// that decides.
    async fn log(&mut self, id: LogId, is_read_by_others: bool) -> Result<(), Error> {
        let listed = self.store.list(&keys::folder(id), OBJECTS_MAX).await?;
        let register = crate::archiver::register(self.store, id);
        let Some(current) = register.read().await? else { return Ok(()) };
        let manifest = crate::archiver::decode(&register, &current.bytes)?;
        match manifest.deleted_us {
            _ if is_read_by_others => {
                self.collected.waiting += manifest.garbage.len() as u64;
                Ok(())
            }
            Some(0) => self.date(manifest, &current.version).await,
            Some(since) if since <= self.horizon_us => self.whole_log(id, listed).await,
            Some(_) => {
                self.collected.waiting += listed.len() as u64;
                Ok(())
            }
            None => {
                self.orphans(&manifest, &listed).await?;
                self.garbage(manifest, &current.version, &listed).await
            }
        }
    }

    /// Removes objects of older epochs that the manifest does not name.
    async fn orphans(&mut self, manifest: &Manifest, listed: &[Listed]) -> Result<(), Error> {
        let mut named: HashSet<File> = HashSet::new();
        for entry in offline::entries(self.store, manifest).await? {
            if entry.home == manifest.id {
                named.extend(manifest::files_of(entry.base, entry.end, entry.epoch));
            }
        }
        named.extend(
            manifest.pages.iter().map(|page| File::Page { base: page.base, epoch: page.epoch }),
        );
        named.extend(manifest.garbage.iter().flat_map(manifest::Garbage::files));
        let collects_current = makes(Mistake::CollectCurrentEpoch);
        for object in listed {
            let name = object.key.rsplit('/').next().unwrap_or_default();
            let Some(file) = File::parse(name) else { continue };
            let is_old = file.epoch() < manifest.epoch || collects_current;
            if is_old && !named.contains(&file) {
                if object.modified_us <= self.horizon_us {
                    self.collected.orphans += 1;
                    self.remove(object).await?;
                } else {
                    self.collected.waiting += 1;
                }
            }
        }
        Ok(())
    }

    /// Removes garbage whose grace is over, and dates garbage that is seen for the first time.
    async fn garbage(
        &mut self,
        mut manifest: Manifest,
        version: &Version,
        listed: &[Listed],
    ) -> Result<(), Error> {
        let (expired, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut manifest.garbage)
            .into_iter()
            .partition(|garbage| garbage.since_us != 0 && garbage.since_us <= self.horizon_us);
        let files: HashSet<File> = expired.iter().flat_map(manifest::Garbage::files).collect();
        for object in listed {
            let name = object.key.rsplit('/').next().unwrap_or_default();
            if File::parse(name).is_some_and(|file| files.contains(&file)) {
                self.remove(object).await?;
            }
        }
        self.collected.waiting += kept.len() as u64;
        let is_undated = kept.iter().any(|garbage| garbage.since_us == 0);
        manifest.garbage = kept;
        if expired.is_empty() && !is_undated {
            return Ok(());
        }
        self.date(manifest, version).await
    }

    /// Writes the manifest with the current time wherever one is missing.
    async fn date(&mut self, mut manifest: Manifest, version: &Version) -> Result<(), Error> {
        for garbage in manifest.garbage.iter_mut().filter(|garbage| garbage.since_us == 0) {
            garbage.since_us = self.now_us;
        }
        if manifest.deleted_us == Some(0) {
            manifest.deleted_us = Some(self.now_us);
            self.collected.waiting += 1;
        }
        manifest.write_id = random::number()?;
        let register = crate::archiver::register(self.store, manifest.id);
        match register.replace(Some(version), &manifest.encode()).await? {
            // If the server wrote at the same time, the next collection does the same again.
            Replaced::Written(_) | Replaced::Lost(_) => Ok(()),
        }
    }

    /// Removes a log that was deleted, its manifest last.
    async fn whole_log(&mut self, id: LogId, listed: Vec<Listed>) -> Result<(), Error> {
        let manifest = keys::manifest(id);
        for object in listed.iter().filter(|object| object.key != manifest) {
            self.remove(object).await?;
        }
        for object in listed.iter().filter(|object| object.key == manifest) {
            self.remove(object).await?;
        }
        self.collected.logs += 1;
        Ok(())
    }

    async fn remove(&mut self, object: &Listed) -> Result<(), Error> {
        self.store.delete(&object.key).await?;
        self.collected.objects += 1;
        self.collected.bytes = self.collected.bytes.saturating_add(object.bytes);
        Ok(())
    }
}
