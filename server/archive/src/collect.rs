//! `styx archive collect`: removes superfluous objects, after a time of grace.
//!
//! ```text
//! garbage of a manifest ─ seen for the first time: note the time ─ grace over: delete, forget
//! object of an older epoch that no manifest names ─ older than the grace: delete
//! deleted log ─ grace over: mark as being removed, delete all of it, the manifest last
//! ```
//!
//! All times are those of the store, so no clock of a server matters. Only a dry run uses the clock of
//! this machine, because it writes nothing. An upload can be on its way
//! without being named yet, but only in the current epoch of its log. The manifest write of an older
//! epoch can never succeed, because the manifest has changed since. Invariant: an object of the
//! current epoch is never removed unless the manifest calls it garbage, and neither is an object
//! that another log may read. A manifest that cannot be read may name any object, so it keeps those
//! of all logs.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use styx_protocol::{LogId, LogName};

use crate::keys::{self, File};
use crate::manifest::{self, Manifest};
use crate::offline::{self, FoundLog, Progress, Tell};
use crate::random;
use crate::register::Replaced;
use crate::sabotage::{Mistake, makes};
use crate::store::{Error, Listed, Store, Version};

/// The most objects of one log.
const OBJECTS_MAX: usize = 10_000_000;

/// The logs to collect, and how.
#[derive(Debug, Clone, Default)]
pub struct CollectOptions {
    /// How long superfluous objects stay. Recommended: 7 days.
    pub grace: Duration,
    /// Only the logs with this name. `None` for all.
    pub log: Option<LogName>,
    /// Only the logs of the server with this number. `None` for all.
    pub owner: Option<u128>,
    /// Whether nothing is changed, and the result counts the objects that would be removed.
    pub is_dry_run: bool,
}

/// Objects that were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Their number.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The result of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects of segments that retention and trims have removed from their logs.
    pub garbage: Removed,
    /// Objects of older epochs that no manifest named: uploads that a crash interrupted.
    pub orphans: Removed,
    /// Objects of deleted logs.
    pub deleted: Removed,
    /// Deleted logs that were removed completely.
    pub logs: u64,
    /// Objects and expired segments that wait for the end of their time of grace.
    pub waiting: u64,
    /// Objects and logs that were left alone because something is wrong with them.
    pub problems: Vec<String>,
}

impl Collected {
    /// The sum of all kinds.
    pub fn total(&self) -> Removed {
        let mut sum = Removed::default();
        for kind in [self.garbage, self.orphans, self.deleted] {
            add(&mut sum, kind);
        }
        sum
    }
}

/// Removes garbage, orphans and deleted logs whose time of grace is over. Blocks. May run while
/// servers archive to the same store.
///
/// # Errors
/// The store failed. The objects that were removed are not reported then, and the next run
/// continues.
pub fn collect(
    store: &Store,
    options: &CollectOptions,
    tell: Tell<'_>,
) -> Result<Collected, Error> {
    offline::run(run(store, options, tell))
}

/// As [`collect`], on the runtime of the caller.
pub(crate) async fn run(
    store: &Store,
    options: &CollectOptions,
    tell: Tell<'_>,
) -> Result<Collected, Error> {
    let now_us = match options.is_dry_run {
        true => micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        false => now(store).await?,
    };
    let mut found = offline::manifests(store, tell).await?;
    let homes = foreign_homes(store, &found).await?;
    let is_wanted = |manifest: &Manifest| {
        options.log.as_ref().is_none_or(|name| manifest.name == *name)
            && options.owner.is_none_or(|owner| manifest.owner.id == owner)
    };
    found.retain(|log| log.manifest.as_ref().map_or(true, is_wanted));
    let mut collection = Collection {
        store,
        options,
        horizon_us: now_us.saturating_sub(micros(options.grace)),
        now_us,
        collected: Collected::default(),
    };
    let total = found.len() as u64;
    for (done, log) in (1..).zip(found) {
        match log.manifest {
            Ok(_) => {
                let is_read = homes.as_ref().is_none_or(|homes| homes.contains(&log.id));
                collection.log(log.id, is_read).await?;
            }
            Err(e) => collection.collected.problems.push(e.to_string()),
        }
        tell(Progress { what: "collecting logs", done, total });
    }
    Ok(collection.collected)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The time of the store: that of an object that is written now.
async fn now(store: &Store) -> Result<u64, Error> {
    let key = format!("probe/clock-{:032x}", random::number()?);
    store.put(&key, Bytes::from_static(b"clock")).await?;
    let described = store.head(&key).await;
    store.delete(&key).await?;
    Ok(described?.modified_us)
}

/// Logs whose objects are read by other logs, which were restored from them. `None` if a manifest
/// cannot be read, because it could name objects of any log.
async fn foreign_homes(store: &Store, found: &[FoundLog]) -> Result<Option<HashSet<LogId>>, Error> {
    let mut homes = HashSet::new();
    for log in found {
        let Ok(manifest) = &log.manifest else { return Ok(None) };
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
    Ok(Some(homes))
}

struct Collection<'a> {
    store: &'a Store,
    options: &'a CollectOptions,
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
            Some(since) if since != 0 && since <= self.horizon_us => {
                self.whole_log(manifest, &current.version, listed).await
            }
            Some(since) => {
                self.collected.waiting += listed.len() as u64;
                match since {
                    0 => self.date_deletion(manifest, &current.version).await,
                    _ => Ok(()),
                }
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
                    let removed = self.remove(object).await?;
                    add(&mut self.collected.orphans, removed);
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
                let removed = self.remove(object).await?;
                add(&mut self.collected.garbage, removed);
            }
        }
        self.collected.waiting += kept.len() as u64;
        let is_undated = kept.iter().any(|garbage| garbage.since_us == 0);
        manifest.garbage = kept;
        if expired.is_empty() && !is_undated {
            return Ok(());
        }
        for garbage in manifest.garbage.iter_mut().filter(|garbage| garbage.since_us == 0) {
            garbage.since_us = self.now_us;
        }
        // If the server wrote at the same time, the next collection does the same again.
        self.replace(manifest, version).await.map(drop)
    }

    /// Notes when a log was deleted: at the time of its manifest, which nothing has written since. A
    /// manifest that was written after it was read is newer, and is not replaced.
    async fn date_deletion(
        &mut self,
        mut manifest: Manifest,
        version: &Version,
    ) -> Result<(), Error> {
        let described = self.store.head(&keys::manifest(manifest.id)).await?;
        manifest.deleted_us = Some(described.modified_us.clamp(1, self.now_us.max(1)));
        self.replace(manifest, version).await.map(drop)
    }

    /// Replaces the manifest, except in a dry run. Returns whether nobody else did meanwhile.
    async fn replace(&self, mut manifest: Manifest, version: &Version) -> Result<bool, Error> {
        if self.options.is_dry_run {
            return Ok(true);
        }
        manifest.write_id = random::number()?;
        let register = crate::archiver::register(self.store, manifest.id);
        let replaced = register.replace(Some(version), &manifest.encode()).await?;
        Ok(matches!(replaced, Replaced::Written(_)))
    }

    /// Removes a log that was deleted, its manifest last. From its mark on, it cannot be undeleted.
    async fn whole_log(
        &mut self,
        mut manifest: Manifest,
        version: &Version,
        listed: Vec<Listed>,
    ) -> Result<(), Error> {
        let key = keys::manifest(manifest.id);
        if !manifest.is_being_removed {
            manifest.is_being_removed = true;
            if !self.replace(manifest, version).await? {
                // It may have been undeleted.
                return Ok(());
            }
        }
        let (last, objects): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|object| object.key == key);
        for object in objects.iter().chain(&last) {
            let removed = self.remove(object).await?;
            add(&mut self.collected.deleted, removed);
        }
        self.collected.logs += 1;
        Ok(())
    }

    /// Removes an object, except in a dry run.
    async fn remove(&self, object: &Listed) -> Result<Removed, Error> {
        if !self.options.is_dry_run {
            self.store.delete(&object.key).await?;
        }
        Ok(Removed { objects: 1, bytes: object.bytes })
    }
}

fn add(sum: &mut Removed, more: Removed) {
    sum.objects += more.objects;
    sum.bytes = sum.bytes.saturating_add(more.bytes);
}
