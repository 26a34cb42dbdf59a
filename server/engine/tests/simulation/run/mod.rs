//! [`Run`]: the run of one seed. It repeats a cycle: random operations until a power cut, a
//! restart, and an audit of the log.

mod archive;
mod producer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use styx_engine::{Batch, Blocks, Catalog, Error, Found, Log, Options, Reader, Ticket};
use styx_protocol::block::{Flags, Header};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, LogName, LogStatus, Position};

use self::archive::Store;
use self::producer::Producing;
use crate::clock::ManualClock;
use crate::disk::{Disk, Fault};
use crate::random::Random;
use crate::support::depot::{Answer, read_through};
use crate::world::{OVERHEAD, Sender, World, read_all};

/// Counts of what happened in a run, so that the test can check that enough did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) power_cuts: u64,
    pub(crate) kills: u64,
    pub(crate) crashes_in_recovery: u64,
    pub(crate) acked: u64,
    pub(crate) rolls: u64,
    pub(crate) trims: u64,
    pub(crate) emptied: u64,
    pub(crate) backups: u64,
    pub(crate) followed: u64,
    pub(crate) rot: u64,
    pub(crate) rot_reported: u64,
    pub(crate) begun: u64,
    pub(crate) fenced: u64,
    pub(crate) repeated: u64,
    pub(crate) archived: u64,
    pub(crate) evicted: u64,
    pub(crate) collected: u64,
    pub(crate) archive_rot: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        let pairs = [
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.kills, other.kills),
            (&mut self.crashes_in_recovery, other.crashes_in_recovery),
            (&mut self.acked, other.acked),
            (&mut self.rolls, other.rolls),
            (&mut self.trims, other.trims),
            (&mut self.emptied, other.emptied),
            (&mut self.backups, other.backups),
            (&mut self.followed, other.followed),
            (&mut self.rot, other.rot),
            (&mut self.rot_reported, other.rot_reported),
            (&mut self.begun, other.begun),
            (&mut self.fenced, other.fenced),
            (&mut self.repeated, other.repeated),
            (&mut self.archived, other.archived),
            (&mut self.evicted, other.evicted),
            (&mut self.collected, other.collected),
            (&mut self.archive_rot, other.archive_rot),
        ];
        for (total, one) in pairs {
            *total += one;
        }
    }
}

const CYCLES: usize = 5;
const SEGMENT_COUNT: i64 = 12;
/// The maximum number of records in an append.
const APPEND_COUNT: i64 = 8;
const KEEP_COUNT: i64 = 40;

pub(crate) struct Run {
    pub(crate) totals: Totals,
    pub(crate) disk: Disk,
    random: Random,
    clock: Arc<ManualClock>,
    catalog: Option<Catalog>,
    log: Option<Log>,
    world: World,
    waiting: Vec<(u64, Ticket)>,
    producing: Producing,
    /// A reader that continues across operations.
    follower: Option<Reader>,
    /// Whether the log is being truncated or replaced. After a crash, the old or the new log
    /// exists.
    replacing: bool,
    pad_commits: bool,
    direct_bytes_min: usize,
    overlap_bytes_min: usize,
    config: LogConfig,
    /// The object store, in half of the runs.
    store: Option<Store>,
}

pub(crate) fn name() -> LogName {
    "log".parse().expect("a name")
}

fn copy_name() -> LogName {
    "copy".parse().expect("a name")
}

pub(crate) fn options(disk: &Disk, clock: &Arc<ManualClock>) -> Options {
    Options {
        committers_max: 0,
        // The file of the log is closed when its copy is opened.
        open_files: 0,
        storage: Arc::new(disk.clone()),
        clock: Arc::clone(clock) as Arc<dyn styx_engine::clock::Clock>,
        ..Options::new("/data")
    }
}

impl Run {
    pub(crate) fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let small_segments = random.chance(40);
        let config = LogConfig {
            segment_max_size: 20_000,
            segment_max_count: if small_segments { SEGMENT_COUNT } else { -1 },
            log_max_count: if small_segments && random.chance(50) { KEEP_COUNT } else { -1 },
            // More than the time of a run, but less than a jump of the wall clock.
            log_max_age: if random.chance(50) { 1_000_000 } else { -1 },
            ..LogConfig::default()
        };
        let store = random.chance(50).then(Store::default);
        Run {
            store,
            totals: Totals::default(),
            disk: Disk::new(random.next()),
            pad_commits: random.chance(20),
            direct_bytes_min: *random.pick(&[0, 600, usize::MAX]),
            overlap_bytes_min: *random.pick(&[0, usize::MAX]),
            random,
            clock: Arc::default(),
            catalog: None,
            log: None,
            world: World::default(),
            waiting: Vec::new(),
            producing: Producing::default(),
            follower: None,
            replacing: false,
            config,
        }
    }

    /// Runs the seed.
    ///
    /// # Errors
    /// A description of the guarantee that was broken.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        self.open().map_err(|error| format!("the first start failed: {error}"))?;
        self.begin()?;
        for _ in 0..CYCLES {
            self.schedule_power_cut();
            while !self.disk.is_off() {
                self.operate()?;
            }
            self.crash()?;
        }
        Ok(())
    }

    /// Cuts the power after a random number of calls.
    fn schedule_power_cut(&mut self) {
        let calls = 3 + self.random.below(150) as u64;
        self.disk.fail_after(calls, Fault::PowerCut);
    }

    fn options(&self) -> Options {
        Options {
            pad_commits: self.pad_commits,
            direct_bytes_min: self.direct_bytes_min,
            overlap_bytes_min: self.overlap_bytes_min,
            depot: self.store.as_ref().map(|store| Arc::new(store.depot.clone()) as _),
            ..options(&self.disk, &self.clock)
        }
    }

    fn open(&mut self) -> Result<(), Error> {
        let catalog = Catalog::open(self.options())?;
        match catalog.delete(&copy_name()) {
            Ok(()) | Err(Error::LogNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let log = match catalog.log(&name()) {
            Err(Error::LogNotFound { .. }) if self.replacing || self.world.known.is_empty() => {
                self.world.begin_anew();
                catalog.create(&name(), self.config)?
            }
            found => found?,
        };
        self.log = Some(log);
        self.catalog = Some(catalog);
        Ok(())
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("open")
    }

    fn catalog(&self) -> Catalog {
        self.catalog.clone().expect("open")
    }

    fn operate(&mut self) -> Result<(), String> {
        match self.random.below(1080) {
            0..400 => self.append(),
            400..410 => self.begin(),
            410..425 => self.send_fenced(),
            425..440 => self.repeat(),
            440..760 => self.step(),
            760..860 => self.pass_time(),
            860..890 => self.read(),
            890..930 => self.follow(),
            930..950 => self.trim(),
            950..965 => self.rot(),
            965..975 => self.empty(),
            975..985 => self.back_up(),
            1000..1080 => self.archive(),
            _ => self.kill(),
        }
    }

    /// Returns the tail of a payload: random bytes, or bytes that an attacker would send.
    fn tail(&mut self) -> Vec<u8> {
        let size = *self.random.pick(&[0, 0, 10, 100, 300, 700, 1500, 3000, 6000]);
        let mut tail = self.random.bytes(size);
        if self.random.chance(30) {
            tail.extend(self.forged_blocks());
        }
        if self.random.chance(20) {
            tail.extend(self.copied_bytes());
        }
        tail.truncate(15_000 - OVERHEAD);
        tail
    }

    /// Returns blocks that a client could forge from what it has read. They continue the chain of
    /// the newest block, and their durable position is far beyond it.
    fn forged_blocks(&mut self) -> Vec<u8> {
        let Some((_, bytes)) = self.newest_segment() else { return Vec::new() };
        let Some(last) = last_header(&bytes) else { return Vec::new() };
        let (header, prev_crc) = last;
        let forged = Header {
            flags: Flags::FILLER,
            count: 0,
            body_size: 0,
            raw_size: 0,
            base_position: header.end_position() + self.random.below(4) as u64,
            prev_crc,
            body_crc: 0,
            durable_position: 1 << 40,
            ..header
        };
        let times = *self.random.pick(&[1, 1, 30]);
        forged.encode().0.repeat(times)
    }

    /// Returns unchanged bytes of the newest segment.
    fn copied_bytes(&mut self) -> Vec<u8> {
        let Some((_, bytes)) = self.newest_segment() else { return Vec::new() };
        let from = self.random.below(bytes.len());
        let size = *self.random.pick(&[400, 3000]);
        bytes[from..(from + size).min(bytes.len())].to_vec()
    }

    fn newest_segment(&self) -> Option<(PathBuf, Vec<u8>)> {
        newest_segment(&self.disk)
    }

    fn step(&mut self) -> Result<(), String> {
        let segments = self.log().stats().segments;
        self.catalog().step();
        self.totals.rolls += self.log().stats().segments.saturating_sub(segments);
        self.collect()
    }

    fn pass_time(&mut self) -> Result<(), String> {
        let ms = *self.random.pick(&[1, 10, 60, 1100]);
        self.clock.advance(Duration::from_millis(ms));
        if self.random.chance(20) {
            // The wall clock jumps by years. Nothing may expire, and no timestamp may decrease.
            let years = i64::try_from(self.random.below(7)).expect("it fits") - 3;
            self.clock.set_wall_offset(years * 31_000_000_000_000);
        }
        self.step()
    }

    fn read(&mut self) -> Result<(), String> {
        let start = self.log().start_position().0;
        match read_all(self.log()) {
            Ok(held) => {
                for (position, payload) in (start..).zip(held) {
                    if self
                        .world
                        .known
                        .insert(position, payload.clone())
                        .is_some_and(|k| k != payload)
                    {
                        return Err(format!("a reader saw a different record at {position}"));
                    }
                }
                Ok(())
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads with the follower, which must see each record once, in order and in its final form.
    fn follow(&mut self) -> Result<(), String> {
        let reader = match self.follower.take() {
            Some(reader) => Ok(reader),
            None => self.log().reader(self.log().start_position()),
        };
        let Ok(mut reader) = reader else { return Ok(()) };
        let at = reader.position();
        let read = match self.random.chance(50) {
            true => read_through(&mut reader, |reader| reader.read(3000)).map(records_of_batch),
            false => read_through(&mut reader, |reader| reader.blocks(3000)).map(records_of_blocks),
        };
        match read {
            Ok(Some((first, payloads))) => {
                // The first block may begin before the position.
                if first > at || reader.position().0 != first.0 + payloads.len() as u64 {
                    return Err(format!("the follower at {at} got records from {first}"));
                }
                self.totals.followed += reader.position().since(at);
                for (position, payload) in (first.0..).zip(payloads) {
                    let known = self.world.known.get(&position);
                    if known.is_some_and(|known| *known != payload) {
                        return Err(format!("the follower saw a different record at {position}"));
                    }
                    if position >= at.0 {
                        self.world.known.insert(position, payload);
                    }
                }
                self.follower = Some(reader);
            }
            Ok(None) => self.follower = Some(reader),
            // Its next record was removed.
            Err(Error::OutOfRange { .. }) if at < self.log().start_position() => {}
            // The log was truncated or replaced.
            Err(Error::LogRemoved { .. }) => {}
            Err(_) if self.disk.is_off() => {}
            Err(error) => return Err(format!("the follower failed: {error}")),
        }
        Ok(())
    }

    fn trim(&mut self) -> Result<(), String> {
        let end = self.log().end_position().0;
        let to = self.random.next() % (end + 1);
        self.world.start_max = self.world.start_max.max(to);
        match self.log().trim(Position(to)) {
            Ok(()) => {
                self.totals.trims += 1;
                self.world.start_min = self.log().start_position().0;
                Ok(())
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("the trim failed: {error}")),
        }
    }

    /// Truncates the log, or deletes it and creates a new one.
    fn empty(&mut self) -> Result<(), String> {
        self.replacing = true;
        let catalog = self.catalog();
        let emptied = if self.random.chance(50) {
            catalog.truncate(&name())
        } else {
            catalog.delete(&name()).and_then(|()| catalog.create(&name(), self.config))
        };
        match emptied {
            Ok(log) => {
                self.collect()?;
                self.disconnect();
                self.totals.emptied += 1;
                self.replacing = false;
                self.world.begin_anew();
                self.log = Some(log);
                self.begin()
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("the truncation or replacement failed: {error}")),
        }
    }

    /// Restores a backup under another name, and compares the two logs.
    fn back_up(&mut self) -> Result<(), String> {
        let mut archive = Vec::new();
        let source = read_all(self.log());
        let catalog = self.catalog();
        let restored = self
            .log()
            .backup(&mut archive)
            .and_then(|()| catalog.restore(&copy_name(), &mut archive.as_slice()));
        let copy = match restored {
            Ok(copy) => copy,
            Err(_) if self.disk.is_off() => return Ok(()),
            Err(error) => return Err(format!("the backup or restore failed: {error}")),
        };
        if !self.disk.is_off() && source? != read_all(&copy)? {
            return Err("the restored copy has different records".into());
        }
        for id in [Sender::Loose.id(), Sender::Blocks.id()] {
            if !self.disk.is_off() && copy.producer(id) != self.log().producer(id) {
                return Err(format!("the restored copy has a different state of producer {id}"));
            }
        }
        self.totals.backups += 1;
        match catalog.delete(&copy_name()) {
            Err(error) if !self.disk.is_off() => {
                Err(format!("the copy could not be deleted: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Kills the process. The page cache is kept.
    fn kill(&mut self) -> Result<(), String> {
        if self.disk.is_off() {
            return Ok(());
        }
        self.totals.kills += 1;
        self.restart(None)?;
        self.schedule_power_cut();
        Ok(())
    }

    /// Allows for retention, which removes each segment whose first record is beyond the limit.
    fn expect_retention(&mut self, end: u64) {
        if let Ok(keep) = u64::try_from(self.config.log_max_count)
            && end > keep
        {
            let segment = u64::try_from(SEGMENT_COUNT + APPEND_COUNT).expect("positive");
            self.world.start_max = self.world.start_max.max(end - keep + segment);
        }
    }

    fn crash(&mut self) -> Result<(), String> {
        let power_cut = self.random.chance(75);
        if power_cut {
            self.totals.power_cuts += 1;
        }
        let keep = *self.random.pick(&[0, 30, 50, 80, 95]);
        self.restart(power_cut.then_some(keep))
    }

    /// Restarts until a start succeeds, and audits the log.
    fn restart(&mut self, power_cut: Option<u64>) -> Result<(), String> {
        let id = self.log().id();
        self.log = None;
        self.follower = None;
        self.catalog = None;
        self.disconnect();
        // The wall clock is right when a machine starts.
        self.clock.set_wall_offset(0);
        self.disk.restart(power_cut);
        if let Some(store) = &self.store
            && self.random.chance(30)
        {
            // A start needs no store.
            store.depot.answer(Answer::Error);
        }
        loop {
            if self.random.chance(30) {
                self.disk.fail_after(self.random.below(14) as u64, Fault::PowerCut);
            }
            match self.open() {
                Ok(()) if !self.disk.is_off() => break,
                Err(error) if !self.disk.is_off() => {
                    return Err(format!("the start failed: {error}"));
                }
                _ => {}
            }
            self.totals.crashes_in_recovery += 1;
            self.log = None;
            self.catalog = None;
            let keep = self.random.chance(75).then_some(50);
            self.disk.restart(keep);
        }
        self.disk.clear_fault();
        if let Some(store) = &self.store {
            store.depot.answer(Answer::Ok);
        }
        if self.replacing && self.log().id() != id {
            self.world.begin_anew();
        }
        self.replacing = false;
        let log = self.log().clone();
        self.expect_retention(log.end_position().0);
        self.world.audit(&log)?;
        self.audit_producers()?;
        self.resume()
    }

    /// Damages the newest segment on a copy of the disk. The engine must report the damage unless
    /// every record before the watermark is still readable.
    fn rot(&mut self) -> Result<(), String> {
        if self.disk.is_off() {
            return Ok(());
        }
        let disk = self.disk.copy();
        let Some((path, bytes)) = newest_segment(&disk) else { return Ok(()) };
        let Some(durable) = watermark(&disk, &path) else { return Ok(()) };
        let used = used_bytes(&bytes);
        let at = self.random.below(used);
        let kind = self.random.below(4);
        let noise = self.random.bytes(512);
        disk.damage(&path, |bytes| match kind {
            0 => bytes[at] ^= 1 << (noise[0] % 8),
            1 => {
                let from = at / 512 * 512;
                let to = (from + 512).min(bytes.len());
                bytes[from..to].fill(0);
            }
            2 => {
                let from = at / 512 * 512;
                let to = (from + 512).min(bytes.len());
                bytes[from..to].copy_from_slice(&noise[..to - from]);
            }
            _ => bytes.truncate(at),
        });
        self.totals.rot += 1;
        let depot = self.store.as_ref().map(|store| Arc::new(store.depot.clone()) as _);
        let options = Options { depot, ..options(&disk, &self.clock) };
        let catalog = match Catalog::open(options) {
            Ok(catalog) => catalog,
            Err(error) => return Err(format!("damage keeps the catalog from opening: {error}")),
        };
        let log = match catalog.log(&name()) {
            Ok(log) => log,
            Err(Error::NotAvailable { .. }) => {
                self.totals.rot_reported += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("the damaged log failed to open: {error}")),
        };
        if log.status() == LogStatus::Corrupt {
            self.totals.rot_reported += 1;
            return Ok(());
        }
        let start = log.start_position().0;
        let held = read_all(&log)?;
        for (position, payload) in self.world.known.range(start..durable) {
            let index = usize::try_from(position - start).expect("it fits");
            if held.get(index) != Some(payload) {
                return Err(format!(
                    "damage ({kind} at {at} of {}): record {position} before the watermark {durable} is lost, but no damage is reported",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// The position of the first record that a follower got, and the payloads.
type ReadRecords = Option<(Position, Vec<Vec<u8>>)>;

fn records_of_batch(found: Found<Batch>) -> ReadRecords {
    let Found::Some(batch) = found else { return None };
    Some((batch.first(), batch.records().map(|record| record.payload.to_vec()).collect()))
}

fn records_of_blocks(found: Found<Blocks>) -> ReadRecords {
    let Found::Some(blocks) = found else { return None };
    let records = blocks.blocks().map(|block| block.records().expect("a valid block"));
    let payloads = records
        .flat_map(|records| records.payloads().map(|payload| payload.to_vec()).collect::<Vec<_>>());
    Some((blocks.first(), payloads.collect()))
}

/// Returns the path and the bytes of the newest segment of the newest generation.
pub(crate) fn newest_segment(disk: &Disk) -> Option<(PathBuf, Vec<u8>)> {
    use styx_engine::storage::Storage as _;
    let log = Path::new("/data/log");
    let generations = disk.list(log).ok()?;
    let newest = generations.iter().filter_map(|e| e.name.parse::<u64>().ok()).max()?;
    let folder = log.join(newest.to_string());
    let names = disk.list(&folder).ok()?;
    let segment = names.iter().map(|e| &e.name).filter(|n| n.ends_with(".seg")).max()?;
    let path = folder.join(segment);
    let bytes = disk.bytes(&path)?;
    (!bytes.is_empty()).then_some((path, bytes))
}

/// Returns the header and the CRC of the last whole block.
fn last_header(bytes: &[u8]) -> Option<(Header, u32)> {
    let mut at = 0;
    let mut last = None;
    while let Ok(decoded) = Header::decode(&bytes[at..]) {
        at += usize::try_from(decoded.0.block_bytes()).ok()?;
        last = Some(decoded);
        if at + BLOCK_HEADER_BYTES > bytes.len() {
            break;
        }
    }
    last
}

/// Returns the size of all blocks, without the zeros after them.
fn used_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((header, _)) = bytes.get(at..).and_then(|rest| Header::decode(rest).ok()) {
        at += usize::try_from(header.block_bytes()).expect("it fits");
    }
    at.clamp(1, bytes.len())
}

/// Returns the durable end in the watermark of a segment's log.
fn watermark(disk: &Disk, segment: &Path) -> Option<u64> {
    let bytes = disk.bytes(&segment.with_file_name("watermark"))?;
    let slot = |at: usize| {
        let slot = bytes.get(at..at + 36)?;
        let word = |at: usize| {
            slot.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes)
        };
        let crc = slot.get(32..36).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        (crc == Some(crc32fast::hash(&slot[..32]))).then_some((word(4)?, word(24)?))
    };
    slot(0).max(slot(4096)).map(|(_, durable)| durable)
}
