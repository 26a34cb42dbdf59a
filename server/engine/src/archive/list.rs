//! [`ArchiveList`]: the file `<generation>/archive` with the entries of a log's archived segments.
//!
//! ```text
//! header   "STXA" | crc: u32 of bytes 8..16 | version: u32 | zero: u32
//! then     entry (80 bytes) …   appended and synced; the order has no meaning
//! ```
//!
//! Recovery takes a missing segment file for an archived one only if the list has its entry. Of two
//! entries with the same base the later one counts, because the segment was uploaded again. Invalid
//! bytes at the end are a torn append and are overwritten. An invalid entry elsewhere is ignored.
//! Entries of segments that the log no longer has stay until the file is replaced, which removes them.
//!
//! Invariant: after a failed write or sync, nothing is appended to the same file: the next change
//! replaces it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::Position;

use super::entry::{ENTRY_BYTES, Entry};
use crate::fields::Fields;
use crate::format::{Newer, Unusable};
use crate::storage::{Access, File, Identity, Storage, read_exact_at, replace_file, write_all_at};

const MAGIC: [u8; 4] = *b"STXA";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

/// The list is read in pieces of this many entries: 80 KiB.
const ENTRIES_PER_READ: usize = 1024;

/// A list with this many entries of removed segments is replaced, if they are also the larger part.
const STALE_MAX: usize = 64;

/// Where the list of a log is, and how it is changed. The entries are in the log's segments.
#[derive(Debug)]
pub(crate) struct ArchiveList {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No file exists.
    Absent,
    /// Entries can be appended.
    Ready {
        identity: Option<Identity>,
        /// The number of places for entries, also invalid ones, before the next entry.
        places: usize,
    },
    /// The next change replaces the file.
    Doubtful,
}

/// The entries of a list, by base position.
pub(crate) type Entries = BTreeMap<Position, Entry>;

impl ArchiveList {
    /// The list of a log without archived segments.
    pub(crate) fn absent(storage: &Arc<dyn Storage>, path: PathBuf) -> ArchiveList {
        ArchiveList { storage: Arc::clone(storage), path, state: State::Absent }
    }

    /// Reads the list, which may not exist. The inner error says why an existing list cannot be
    /// used; a damaged one is replaced by the next change.
    ///
    /// The file is synced and its page cache is dropped first: after a kill or a failed sync, the
    /// page cache may have entries that the disk does not have, and a segment must not be evicted
    /// because of them.
    ///
    /// # Errors
    /// The file cannot be read or synced.
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        path: PathBuf,
    ) -> io::Result<(ArchiveList, Result<Entries, Unusable>)> {
        let mut list = ArchiveList::absent(storage, path);
        let file = match storage.open(&list.path, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((list, Ok(Entries::new())));
            }
            Err(error) => return Err(error),
        };
        file.sync()?;
        file.drop_cache()?;
        let read = read(&*file)?;
        list.state = match &read {
            Ok((_, places)) => State::Ready { identity: file.identity()?, places: *places },
            Err(_) => State::Doubtful,
        };
        Ok((list, read.map(|(entries, _)| entries)))
    }

    /// Whether the file exists, or may exist.
    pub(crate) fn exists(&self) -> bool {
        self.state != State::Absent
    }

    /// Adds entries, durably. `all` returns the entries that are in force without the new ones, for
    /// the case that the file has to be replaced.
    ///
    /// # Errors
    /// I/O. The entries may be durable nevertheless.
    pub(crate) fn append(
        &mut self,
        entries: &[Entry],
        all: impl FnOnce() -> Entries,
    ) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let State::Ready { identity, places } = self.state else {
            let mut all = all();
            all.extend(entries.iter().map(|entry| (entry.base, *entry)));
            return self.replace(&all);
        };
        self.state = State::Doubtful;
        let file = self.storage.open(&self.path, Access::Write)?;
        if file.identity()? != identity {
            return Err(io::Error::other("the file was replaced while the server ran"));
        }
        let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
        write_all_at(&*file, &bytes, offset(places)).map_err(|(error, _)| error)?;
        file.sync()?;
        self.state = State::Ready { identity, places: places + entries.len() };
        Ok(())
    }

    /// Replaces the file if most of its entries belong to removed segments. `all` has the entries
    /// that are in force.
    ///
    /// # Errors
    /// I/O. The file then has its old or its new content.
    pub(crate) fn compact(&mut self, all: &Entries) -> io::Result<()> {
        let State::Ready { places, .. } = self.state else { return Ok(()) };
        let stale = places.saturating_sub(all.len());
        if stale < STALE_MAX || stale < all.len() {
            return Ok(());
        }
        self.replace(all)
    }

    fn replace(&mut self, all: &Entries) -> io::Result<()> {
        self.state = State::Doubtful;
        replace_file(&*self.storage, &self.path, &encode(all))?;
        let identity = self.storage.identity(&self.path)?;
        self.state = State::Ready { identity, places: all.len() };
        Ok(())
    }
}

/// The content of a list with these entries.
pub(crate) fn encode(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let crc = crc32fast::hash(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_be_bytes());
    entries.values().for_each(|entry| out.extend_from_slice(&entry.encode()));
    out
}

/// Reads a list: its entries, and the number of places up to its last valid entry.
///
/// # Errors
/// The file cannot be read. The inner error says why it is no list that this version can use.
pub(crate) fn read(file: &dyn File) -> io::Result<Result<(Entries, usize), Unusable>> {
    let damaged = |why: &str| Unusable::Damaged(format!("the list of archived segments {why}"));
    let len = file.len()?;
    if len < HEADER_BYTES as u64 {
        return Ok(Err(damaged("is too short")));
    }
    let mut header = [0; HEADER_BYTES];
    read_exact_at(file, &mut header, 0)?;
    match Fields::open(&header, MAGIC) {
        Some((VERSION, _)) => {}
        Some((version, _)) if version > VERSION => {
            return Ok(Err(Unusable::Newer(Newer::version(version))));
        }
        Some(_) => return Ok(Err(damaged("has a version that does not exist"))),
        None => return Ok(Err(damaged("fails its checksum"))),
    }
    let all = (len - HEADER_BYTES as u64) / ENTRY_BYTES as u64;
    let all = usize::try_from(all).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut entries = Entries::new();
    let mut places = 0;
    let mut buffer = vec![0; ENTRIES_PER_READ.min(all) * ENTRY_BYTES];
    let mut at = 0;
    while at < all {
        let count = ENTRIES_PER_READ.min(all - at);
        let piece = &mut buffer[..count * ENTRY_BYTES];
        read_exact_at(file, piece, offset(at))?;
        let (encoded, _) = piece.as_chunks();
        for (i, encoded) in encoded.iter().enumerate() {
            if let Some(entry) = Entry::decode(encoded) {
                entries.insert(entry.base, entry);
                places = at + i + 1;
            }
        }
        at += count;
    }
    Ok(Ok((entries, places)))
}

/// Where the entry with this index begins.
fn offset(index: usize) -> u64 {
    HEADER_BYTES as u64 + index as u64 * ENTRY_BYTES as u64
}

/// The path of the list in a generation folder.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join(crate::segment::name::ARCHIVE)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests change files")]
mod tests {
    use std::fs;

    use super::super::entry::tests::entry;
    use super::*;
    use crate::storage::RealStorage;

    struct Scene {
        directory: tempfile::TempDir,
        storage: Arc<dyn Storage>,
    }

    impl Scene {
        fn new() -> Scene {
            let directory = tempfile::tempdir().expect("a directory");
            Scene { directory, storage: Arc::new(RealStorage) }
        }

        fn path(&self) -> PathBuf {
            path(self.directory.path())
        }

        fn open(&self) -> (ArchiveList, Result<Entries, Unusable>) {
            ArchiveList::open(&self.storage, self.path()).expect("it can be read")
        }

        fn entries(&self) -> Vec<Entry> {
            self.open().1.expect("it is valid").into_values().collect()
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(self.path()).expect("it exists")
        }

        fn write(&self, bytes: &[u8]) {
            fs::write(self.path(), bytes).expect("written");
        }
    }

    fn none() -> Entries {
        Entries::new()
    }

    #[test]
    fn appended_entries_are_read_back_after_a_reopen() {
        let scene = Scene::new();
        let (mut list, entries) = scene.open();
        assert_eq!(entries, Ok(none()));
        assert!(!list.exists());
        list.append(&[entry(0, 3)], none).expect("appended");
        list.append(&[entry(3, 5), entry(5, 9)], || panic!("the file is not replaced"))
            .expect("appended");
        assert_eq!(scene.entries(), [entry(0, 3), entry(3, 5), entry(5, 9)]);
        let (mut list, _) = scene.open();
        list.append(&[entry(9, 11)], || panic!("the file is not replaced")).expect("appended");
        assert_eq!(scene.entries().len(), 4);
        assert_eq!(scene.bytes().len(), 16 + 4 * 80);
    }

    #[test]
    fn the_later_of_two_entries_of_a_segment_counts() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        let again = Entry { epoch: 9, ..entry(0, 3) };
        list.append(&[entry(0, 3), entry(3, 5), again], none).expect("appended");
        assert_eq!(scene.entries(), [again, entry(3, 5)]);
    }

    #[test]
    fn a_torn_append_is_overwritten() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        list.append(&[entry(0, 3), entry(3, 5), entry(5, 9)], none).expect("appended");
        let whole = scene.bytes();
        for torn in [whole.len() - 1, whole.len() - 79, 16 + 80] {
            for filled in [torn, whole.len()] {
                let mut bytes = whole[..torn].to_vec();
                bytes.resize(filled, 0);
                scene.write(&bytes);
                let (mut list, entries) = scene.open();
                let kept = (torn - 16) / 80;
                assert_eq!(entries.expect("it is valid").len(), kept, "{torn} {filled}");
                list.append(&[entry(9, 11)], || panic!("not replaced")).expect("appended");
                assert_eq!(scene.entries().last(), Some(&entry(9, 11)));
                assert_eq!(scene.entries().len(), kept + 1, "{torn} {filled}");
            }
        }
    }

    #[test]
    fn an_invalid_entry_in_the_middle_hides_no_other() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        list.append(&[entry(0, 3), entry(3, 5), entry(5, 9)], none).expect("appended");
        let mut bytes = scene.bytes();
        bytes[16 + 80 + 7] ^= 1;
        scene.write(&bytes);
        assert_eq!(scene.entries(), [entry(0, 3), entry(5, 9)]);
    }

    #[test]
    fn a_newer_list_is_refused_and_a_damaged_one_is_replaced() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        list.append(&[entry(0, 3)], none).expect("appended");
        let mut newer = scene.bytes();
        newer[11] = 2;
        let crc = crc32fast::hash(&newer[8..16]);
        newer[4..8].copy_from_slice(&crc.to_be_bytes());
        scene.write(&newer);
        assert!(matches!(scene.open().1, Err(Unusable::Newer(_))));

        newer[15] = 1;
        for damaged in [&newer[..], &newer[..15], b""] {
            scene.write(damaged);
            let (mut list, entries) = scene.open();
            assert!(matches!(entries, Err(Unusable::Damaged(_))), "{entries:?}");
            let kept = || Entries::from([(Position(0), entry(0, 3))]);
            list.append(&[entry(3, 5)], kept).expect("replaced");
            assert_eq!(scene.entries(), [entry(0, 3), entry(3, 5)]);
        }
    }

    #[test]
    fn nothing_is_appended_to_another_file() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        list.append(&[entry(0, 3)], none).expect("appended");
        fs::rename(scene.path(), scene.directory.path().join("old")).expect("renamed");
        scene.write(b"foreign");
        list.append(&[entry(3, 5)], none).expect_err("another file has the name");
        assert_eq!(scene.bytes(), b"foreign");
        let kept = || Entries::from([(Position(0), entry(0, 3))]);
        list.append(&[entry(3, 5)], kept).expect("the next change replaces it");
        assert_eq!(scene.entries(), [entry(0, 3), entry(3, 5)]);
    }

    #[test]
    fn entries_of_removed_segments_are_removed_when_they_are_most() {
        let scene = Scene::new();
        let (mut list, _) = scene.open();
        let all: Vec<Entry> = (0..100).map(|i| entry(i, i + 1)).collect();
        list.append(&all, none).expect("appended");
        let rest = |from: usize| all[from..].iter().map(|entry| (entry.base, *entry)).collect();
        list.compact(&rest(63)).expect("not due");
        assert_eq!(scene.entries().len(), 100);
        list.compact(&rest(64)).expect("replaced");
        assert_eq!(scene.entries(), all[64..]);
        list.append(&[entry(100, 101)], || panic!("not replaced")).expect("appended");
        assert_eq!(scene.entries().len(), 37);
    }
}
